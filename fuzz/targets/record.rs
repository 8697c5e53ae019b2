//! A value from Kafka. What is taken can be written again and is read as the same; what is not taken has a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;
use webmon::record::Record;

fuzz_target!(|value: &[u8]| {
    match Record::decode(value) {
        Ok(record) => {
            record.validate().expect("what was decoded is valid");
            let again = Record::decode(&record.encode()).expect("what was encoded is read again");
            assert_eq!(again, record);
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.reason().is_empty()),
    }
});
