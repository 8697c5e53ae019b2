//! Whether a server answers, as pg_isready tells it.

use std::io::{Read, Write};

use crate::port;

/// It lets a client in, with names that exist, or the server would log a refusal each time. See "Message Formats" in the
/// manual: a server that is starting or stopping answers with an error.
pub(super) fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = port::connect(port)?;
        stream.write_all(&startup()).ok()?;
        let mut kind = [0];
        stream.read_exact(&mut kind).ok()?;
        let let_in = kind == *b"R";
        if let_in {
            // Terminate, or the server logs that the client has gone.
            stream.write_all(b"X\0\0\0\x04").ok()?;
            // Read to its end: a connection closed with bytes in it is reset.
            let _ = std::io::copy(&mut stream.take(1 << 16), &mut std::io::sink());
        }
        Some(let_in)
    };
    ask().unwrap_or(false)
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0webmon\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or(0);
    [&length.to_be_bytes()[..], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_refuses_does_not_answer() {
        for (reply, expected) in [(b'R', true), (b'E', false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; startup().len()];
                stream.read_exact(&mut request).unwrap();
                assert_eq!(request, startup());
                stream.write_all(&[reply]).unwrap();
                if reply == b'R' {
                    let mut end = [0; 5];
                    stream.read_exact(&mut end).unwrap();
                    assert_eq!(&end, b"X\0\0\0\x04");
                }
            });
            assert_eq!(answers(port), expected);
            server.join().unwrap();
        }
    }
}
