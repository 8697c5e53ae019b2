//! Writers among themselves and with Kafka, as programs: who has which partitions when some of them die, and what of
//! Kafka's troubles is waited out.

#![cfg(feature = "librdkafka")]

mod support;

use std::time::{Duration, Instant};

use futures_executor::block_on;
use postgres::{Client, NoTls};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use support::pipeline::{Pipeline, pipeline};
use support::{
    Database, Program, Signal, config_toml, database, program, result, scale, service, unique, value,
    wait_until, wait_within,
};
use webmon::config::{Config, Role};
use webmon::kafka::{self, Delivery, NewTopic, Outgoing, partition_for};
use webmon::record::Outcome;
use webmon::store;

const STORE: &str = env!("CARGO_BIN_EXE_webmon-store");

fn writer(pipeline: &Pipeline, lease: &str) -> Program {
    program(STORE, &pipeline.toml("").replace("500ms", lease), &["run"])
}

fn end(mut writer: Program) -> String {
    let ended = writer.child.try_wait().unwrap();
    assert!(ended.is_none(), "it has ended by itself, {ended:?}: {}", writer.log());
    writer.signal(Signal::TERM);
    let (code, _, log) = writer.finish();
    assert_eq!(code, Some(0), "{log}");
    log
}

fn kill(mut writer: Program) {
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
}

/// How many partitions each owner has by a lease that is running, the most first.
fn held(client: &mut Client) -> Vec<(String, i64)> {
    let sql = "SELECT owner, count(*) FROM webmon.partition_offsets \
               WHERE lease_until > clock_timestamp() GROUP BY owner ORDER BY 2 DESC, 1";
    client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn counts(client: &mut Client) -> Vec<i64> {
    held(client).into_iter().map(|(_, count)| count).collect()
}

#[test]
fn a_killed_writers_partitions_are_at_work_again_within_a_lease_and_a_second() {
    let Some(pipeline) = pipeline(6) else { return };
    let mut client = pipeline.database.client();
    let lease = Duration::from_secs(3);
    let staying = writer(&pipeline, "3s");
    wait_until("it has all", || counts(&mut client) == [6]);
    for _ in 0..scale(2, 10) {
        let victim = writer(&pipeline, "3s");
        wait_until("they share evenly", || counts(&mut client) == [3, 3]);
        kill(victim);
        let killed = Instant::now();
        wait_until("the other one has all", || counts(&mut client) == [6]);
        let took = killed.elapsed();
        assert!(took <= lease + Duration::from_secs(1), "it took {took:?}");
    }
    end(staying);
}

#[test]
fn a_writer_that_dies_as_soon_as_it_has_begun_costs_the_others_one_partition_at_most() {
    let Some(pipeline) = pipeline(6) else { return };
    let mut client = pipeline.database.client();
    let healthy = writer(&pipeline, "6s");
    wait_until("it has all", || counts(&mut client) == [6]);
    let owner = held(&mut client)[0].0.clone();
    let proven = "SELECT count(*) FROM webmon.writers WHERE started_at <= seen_at - (lease_until - seen_at)";
    wait_until("it has lived for a lease", || pipeline.database.number(proven) == 1);

    // Those of the youngest, not of the ones that died before it.
    let its_own = "SELECT count(*) FROM webmon.partition_offsets WHERE owner = \
                   (SELECT owner FROM webmon.writers WHERE owner <> $1 ORDER BY started_at DESC LIMIT 1)";
    let registered = || pipeline.database.number("SELECT count(*) FROM webmon.writers");
    let (mut fewest, mut most_idle, mut claimed) = (6, 0, 0);
    let until = Instant::now() + Duration::from_secs(scale(15, 60));
    while Instant::now() < until {
        let before = registered();
        let neighbour = writer(&pipeline, "6s");
        wait_until("it has begun", || registered() > before);
        let born = Instant::now();
        // It dies once it has a partition, or when there is none for it, before it has lived for a lease.
        let mut its = 0_i64;
        while its == 0 && born.elapsed() < Duration::from_secs(4) {
            let held = held(&mut client);
            let others = held.iter().filter(|(name, _)| *name != owner).map(|(_, count)| count).sum::<i64>();
            let own = held.iter().find(|(name, _)| *name == owner).map_or(0, |(_, count)| *count);
            fewest = fewest.min(own);
            most_idle = most_idle.max(6 - own - others);
            its = client.query_one(its_own, &[&owner]).unwrap().get(0);
            std::thread::park_timeout(Duration::from_millis(10));
        }
        claimed += i64::from(its > 0);
        kill(neighbour);
    }
    assert!(claimed >= 2, "the neighbours had a partition {claimed} times only");
    assert!(fewest >= 5, "the healthy one was left with {fewest} of 6");
    assert!(most_idle <= 1, "{most_idle} partitions were nobody's");
    wait_until("in the end it has all", || counts(&mut client) == [6]);
    end(healthy);
}

/// As one hangs in the server when its process is suspended in a transaction.
#[test]
fn a_partition_that_a_server_process_keeps_locked_is_named_and_the_others_go_on() {
    let Some(pipeline) = pipeline(3) else { return };
    let mut client = pipeline.database.client();
    let mut hung = pipeline.database.client();
    let server_pid: i32 = hung.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    end({
        let first = writer(&pipeline, "1s");
        wait_until("it has all", || counts(&mut client) == [3]);
        first
    });
    let mut hanging = hung.transaction().unwrap();
    let lock = "SELECT FROM webmon.partition_offsets WHERE partition = 1 FOR UPDATE";
    assert_eq!(hanging.execute(lock, &[]).unwrap(), 1);

    let second = writer(&pipeline, "1s");
    wait_until("it names the partition and the process", || {
        let log = second.log();
        let named = log.lines().find(|line| line.contains("nobody can take a partition"));
        named.is_some_and(|line| {
            line.contains("\"partition\":1,") && line.contains(&format!("\"server_pid\":{server_pid}"))
        })
    });
    assert_eq!(counts(&mut client), [2]);
    hanging.rollback().unwrap();
    wait_until("it has all", || counts(&mut client) == [3]);
    let log = end(second);
    assert_eq!(log.matches("nobody can take a partition").count(), 1, "{log}");
}

/// Keys that lie in each of the partitions.
fn key_in(partition: i32, partitions: i32) -> String {
    let mut keys = (0..).map(|i| format!("site-{i}"));
    keys.find(|key| partition_for(key.as_bytes(), partitions) == partition).unwrap()
}

fn produce(config: &Config, partition: i32, partitions: i32, seconds: std::ops::Range<i64>) {
    let key = key_in(partition, partitions);
    let record = |i| Outgoing { key: key.clone(), value: value(result(&key, i, Outcome::Success)) };
    let records: Vec<Outgoing> = seconds.map(record).collect();
    wait_until("the records are in Kafka", || {
        let deliveries = kafka::producer(&config.kafka).unwrap().produce(&records);
        deliveries.iter().all(|delivery| matches!(delivery, Delivery::Delivered))
    });
}

fn rows_of(client: &mut Client, key: &str) -> i64 {
    let sql = "SELECT count(*) FROM webmon.check_results JOIN webmon.sites USING (site_id) WHERE key = $1";
    client.query_one(sql, &[&key]).unwrap().get(0)
}

/// Three brokers of librdkafka's, and a topic with ten records in each of its partitions.
struct Leaderless {
    cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    topic: String,
    database: Database,
    toml: String,
    config: Config,
}

fn leaderless(lease: &str) -> Option<Leaderless> {
    let database = database()?;
    let cluster = MockCluster::new(3).unwrap();
    // Its answers of later versions name the leader, also where there is none, and it dies of that.
    cluster.apiversion(RDKafkaApiKey::Fetch, Some(4), Some(11)).unwrap();
    cluster.apiversion(RDKafkaApiKey::Produce, Some(3), Some(8)).unwrap();
    let topic = unique("leaderless");
    cluster.create_topic(&topic, 3, 3).unwrap();
    let brokers = cluster.bootstrap_servers();
    let toml = config_toml(brokers.split(',').next().unwrap(), &topic, &database.url, "");
    let toml = toml.replace("500ms", lease);
    let config = Config::from_toml(&toml, Role::Store).unwrap();
    for partition in 0..3 {
        produce(&config, partition, 3, 0..10);
    }
    Some(Leaderless { cluster, topic, database, toml, config })
}

#[test]
fn a_partition_without_leader_is_waited_for_and_costs_the_others_nothing() {
    let Some(Leaderless { cluster, topic, database, toml, config }) = leaderless("20s") else { return };
    let mut client = database.client();
    // One that is without a leader from the beginning, and one that loses it later.
    cluster.partition_leader(&topic, 0, None).unwrap();
    let writer = program(STORE, &toml, &["run"]);
    for partition in 1..3 {
        wait_until("the others are stored", || rows_of(&mut client, &key_in(partition, 3)) == 10);
    }
    wait_until("it says what it waits for", || writer.log().contains("waiting for a partition"));
    cluster.partition_leader(&topic, 1, None).unwrap();
    wait_until("it notices", || writer.log().matches("waiting for a partition").count() == 2);
    produce(&config, 2, 3, 10..20);
    wait_until("the third goes on", || rows_of(&mut client, &key_in(2, 3)) == 20);
    let kept = "SELECT count(*) FROM webmon.partition_offsets WHERE owner IS NOT NULL AND epoch = 1";
    assert_eq!(database.number(kept), 3, "{}", writer.log());

    cluster.partition_leader(&topic, 0, Some(1)).unwrap();
    cluster.partition_leader(&topic, 1, Some(2)).unwrap();
    produce(&config, 1, 3, 10..20);
    wait_until("it says that they are back", || writer.log().matches("is available again").count() == 2);
    wait_until("the first is stored", || rows_of(&mut client, &key_in(0, 3)) == 10);
    wait_until("the second is stored", || rows_of(&mut client, &key_in(1, 3)) == 20);
    let log = end(writer);
    assert_eq!(log.matches("waiting for a partition").count(), 2, "{log}");
}

#[test]
fn a_partition_that_stays_without_leader_is_given_back_and_taken_up_when_it_has_one() {
    let Some(Leaderless { cluster, topic, database, toml, .. }) = leaderless("500ms") else { return };
    let mut client = database.client();
    cluster.partition_leader(&topic, 0, None).unwrap();
    let writer = program(STORE, &toml, &["run"]);
    wait_until("it is given back", || writer.log().contains("gave a partition back"));
    let free = "SELECT count(*) FROM webmon.partition_offsets \
                WHERE partition = 0 AND owner IS NULL AND paused IS NULL AND last_error IS NOT NULL";
    wait_until("anybody may take it", || database.number(free) == 1);
    for partition in 1..3 {
        wait_until("the others are stored", || rows_of(&mut client, &key_in(partition, 3)) == 10);
    }
    cluster.partition_leader(&topic, 0, Some(1)).unwrap();
    wait_until("it is stored", || rows_of(&mut client, &key_in(0, 3)) == 10);
    end(writer);
}

#[test]
fn a_topic_that_is_made_anew_with_fewer_partitions_ends_no_writer() {
    let Some(pipeline) = pipeline(4) else { return };
    outlives_a_topic_made_anew(&pipeline, "");
}

#[cfg(feature = "kafka-rust")]
#[test]
fn a_topic_that_is_made_anew_with_fewer_partitions_ends_no_writer_with_kafka_rust() {
    let Some(brokers) = service("WEBMON_TEST_KAFKA39") else { return };
    let Some(database) = database() else { return };
    let pipeline = Pipeline::new(&brokers, database, 4);
    outlives_a_topic_made_anew(&pipeline, "kafka.client = \"kafka-rust\"");
}

fn outlives_a_topic_made_anew(pipeline: &Pipeline, more: &str) {
    let config = pipeline.config();
    let mut client = pipeline.database.client();
    let writer = program(STORE, &pipeline.toml(more).replace("500ms", "2s"), &["run"]);
    for partition in [2, 3] {
        produce(&config, partition, 4, 0..10);
        wait_until("it is stored", || rows_of(&mut client, &key_in(partition, 4)) == 10);
    }
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &pipeline.brokers).create().unwrap();
    let deleted = block_on(admin.delete_topics(&[&pipeline.topic], &AdminOptions::new())).unwrap();
    deleted[0].as_ref().unwrap();
    wait_until("it waits for the topic", || writer.log().contains("waiting for kafka"));
    let topic = NewTopic { partitions: 2, replication: 1, retention: Duration::from_secs(86_400) };
    wait_until("the topic can be made anew", || kafka::create_topic(&config.kafka, &topic).is_ok());
    for partition in [0, 1] {
        produce(&config, partition, 2, 100..110);
        wait_until("the new one is stored", || rows_of(&mut client, &key_in(partition, 2)) >= 10);
    }
    wait_until("what is no more is given back", || {
        let status = store::partition_status(&mut client, &pipeline.topic).unwrap();
        let gone = |p: usize| {
            status[p].owner.is_none() && status[p].paused.is_none() && status[p].next_offset == Some(10)
        };
        gone(2)
            && gone(3)
            && status[2].last_error.as_ref().is_some_and(|why| why.contains("2 partitions now"))
    });
    end(writer);
}

#[test]
fn what_is_stored_is_committed_to_the_consumer_group() {
    let Some(pipeline) = pipeline(3) else { return };
    let group = unique("group");
    let toml = pipeline.toml(&format!("kafka.group = {group:?}"));
    let config = pipeline.config();
    let running = program(STORE, &toml, &["run"]);
    for partition in 0..3 {
        produce(&config, partition, 3, 0..i64::from(partition) * 10 + 5);
    }
    pipeline.wait_for_all();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &pipeline.brokers)
        .set("group.id", &group)
        .create()
        .unwrap();
    let committed = || -> Vec<Option<i64>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..3 {
            list.add_partition(&pipeline.topic, partition);
        }
        let found = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
        let offset = |partition| match found.find_partition(&pipeline.topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        (0..3).map(offset).collect()
    };
    let stored = || -> Vec<Option<i64>> {
        let status = store::partition_status(&mut pipeline.database.client(), &pipeline.topic).unwrap();
        status.into_iter().map(|partition| partition.next_offset).collect()
    };
    wait_until("every few seconds", || committed() == stored());
    assert_eq!(stored(), [Some(5), Some(15), Some(25)]);
    // And when it hands over.
    produce(&config, 1, 3, 100..110);
    pipeline.wait_for_all();
    end(running);
    wait_within(Duration::from_secs(4), "at the end", || committed() == [Some(5), Some(25), Some(25)]);

    // Turned off, it commits nothing.
    let quiet = program(STORE, &pipeline.toml("kafka.group = \"off\""), &["run"]);
    produce(&config, 0, 3, 100..110);
    pipeline.wait_for_all();
    end(quiet);
    assert_eq!((committed()[0], stored()[0]), (Some(5), Some(15)));
}

/// Two that must be left alone: a COPY that gets its bytes slowly, and a writer of another topic.
#[test]
fn a_slow_copy_and_the_writers_of_other_topics_are_not_taken_for_frozen() {
    use std::io::Write;

    let Some(database) = database() else { return };
    let mut client = database.client();
    client
        .batch_execute(
            "CREATE TABLE public.slow (n text);
             INSERT INTO webmon.partition_offsets (topic, partition, next_offset, owner, leased_at, lease_until)
             VALUES ('log', 0, 0, 'slow', now() - interval '1 h', now() - interval '1 h'),
                    ('log', 1, 0, 'frozen', now() - interval '1 h', now() - interval '1 h'),
                    ('other', 0, 0, 'elsewhere', now() - interval '1 h', now() - interval '1 h')",
        )
        .unwrap();
    let named = |name: &str| {
        let mut connection: postgres::Config = database.url.parse().unwrap();
        connection.application_name(&format!("webmon-store:{name}")).connect(NoTls).unwrap()
    };
    let (mut slow, mut frozen, mut elsewhere) = (named("slow"), named("frozen"), named("elsewhere"));
    let lock = |topic: &str, partition: i32| {
        format!(
            "SELECT FROM webmon.partition_offsets WHERE topic = '{topic}' AND partition = {partition} FOR UPDATE"
        )
    };
    let mut slow = slow.transaction().unwrap();
    slow.batch_execute(&lock("log", 0)).unwrap();
    let mut frozen = frozen.transaction().unwrap();
    frozen.batch_execute(&lock("log", 1)).unwrap();
    let mut elsewhere = elsewhere.transaction().unwrap();
    elsewhere.batch_execute(&lock("other", 0)).unwrap();
    let mut copy = slow.copy_in("COPY public.slow FROM STDIN").unwrap();

    let log = support::log::Log::new(2);
    log.append(1, value(result("shop", 0, Outcome::Success)));
    let stop = webmon::shutdown::Shutdown::new();
    std::thread::scope(|scope| {
        let config = support::config("127.0.0.1:1", "log", &database.url, "");
        let (log, stop) = (&log, &stop);
        let writer = scope.spawn(move || log.store_until(&config, stop, false));
        let ended = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name = 'webmon-store:frozen'";
        // More than enough looks: the frozen one is ended at the second.
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            copy.write_all(&b"x\n".repeat(4_096)).unwrap();
            copy.flush().unwrap();
            std::thread::park_timeout(Duration::from_millis(50));
        }
        wait_until("the frozen one is ended", || database.number(ended) == 0);
        wait_until("its partition is stored", || {
            database.number("SELECT count(*) FROM webmon.check_results") == 1
        });
        stop.request();
        writer.join().unwrap().unwrap();
    });
    assert!(frozen.commit().is_err(), "the frozen one could commit");
    copy.finish().unwrap();
    slow.commit().unwrap();
    elsewhere.commit().unwrap();
}
