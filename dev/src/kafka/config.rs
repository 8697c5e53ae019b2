//! A broker's configuration, and that of its log.

use anyhow::Result;

use super::{Kafka, LISTENERS};
use crate::file;
use crate::service::{Server, Service};

impl Kafka<'_> {
    /// `server.properties`: a cluster of one, or with a copy of everything on three.
    pub(super) fn properties(&self) -> String {
        let nodes = self.nodes();
        let copies = nodes.len();
        let acknowledged = copies.min(2);
        let voters: Vec<String> = nodes
            .iter()
            .map(|node| format!("{}@127.0.0.1:{}", node.number(), node.port_named("controller-port")))
            .collect();
        let plain = format!("PLAINTEXT://{}", self.address());
        let others = self
            .listeners()
            .iter()
            .map(|(name, _)| format!("{name}://127.0.0.1:{}", self.port_named(&format!("port-{name}"))));
        let listeners = std::iter::once(plain).chain(others).collect::<Vec<_>>().join(",");
        let protocols: String =
            self.listeners().iter().map(|(name, protocol)| format!("{name}:{protocol},")).collect();
        let mut text = format!(
            "\
process.roles=broker,controller
node.id={number}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,{protocols}CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={data}

# A topic that nobody made is a mistake to be told, not to be covered up.
auto.create.topics.enable=false
num.partitions=1
group.initial.rebalance.delay.ms=0

# A broker that was killed can't come back before the controller, here in the
# same process, has forgotten its predecessor: by default after 9 s.  And one
# that is frozen is soon no longer waited for: by default after 30 s.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=5000

# Few clients.
default.replication.factor={copies}
min.insync.replicas={acknowledged}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={acknowledged}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={acknowledged}
share.coordinator.state.topic.num.partitions=4

# A week, or 1 GiB a partition; each segment's index is allocated in advance.
log.retention.hours=168
log.retention.bytes=1073741824
log.segment.bytes=67108864
log.index.size.max.bytes=1048576
",
            number = self.number(),
            controller = self.port_named("controller-port"),
            voters = voters.join(","),
            data = escaped(&self.dir.join("data").display().to_string()),
        );
        if copies == 1 {
            text += &tls(&escaped(&self.project.certificates().display().to_string()));
        }
        text
    }

    /// At most 4 files of 10 MB.
    pub(super) fn configure_log(&self) -> Result<()> {
        let log = escaped(&self.log().display().to_string());
        if self.service == Service::Kafka39 {
            file::write(&self.dir.join("log4j.properties"), &reload4j(&log), 0o644)
        } else {
            file::write(&self.dir.join("log4j2.properties"), &log4j2(&log), 0o644)
        }
    }

    /// Java's option for it.
    pub(super) fn logging(&self) -> String {
        let dir = self.dir.display();
        if self.service == Service::Kafka39 {
            format!("-Dlog4j.configuration=file:{dir}/log4j.properties")
        } else {
            format!("-Dlog4j2.configurationFile={dir}/log4j2.properties")
        }
    }
}

/// A listener's own setting goes before the common one.
fn tls(certificates: &str) -> String {
    // Each thread sets up TLS for itself while the broker starts; by default 3.
    let threads =
        |(name, _): (&str, _)| format!("listener.name.{}.num.network.threads=1\n", name.to_lowercase());
    let threads: String = LISTENERS.map(threads).concat();
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    format!(
        "\
{threads}ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server.keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.pem
listener.name.ssl.ssl.client.auth=required
listener.name.ssl_wrong_name.ssl.keystore.location={certificates}/server-wrong-name.keystore.pem
listener.name.ssl_expired.ssl.keystore.location={certificates}/server-expired.keystore.pem
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram}
"
    )
}

fn reload4j(log: &str) -> String {
    format!(
        "\
log4j.rootLogger=INFO, file
log4j.appender.file=org.apache.log4j.RollingFileAppender
log4j.appender.file.File={log}
log4j.appender.file.MaxFileSize=10MB
log4j.appender.file.MaxBackupIndex=3
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d %p [%t] %m (%c{{1}})%n
"
    )
}

fn log4j2(log: &str) -> String {
    format!(
        "\
status=error
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={log}
appender.file.filePattern={log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p [%t] %m (%c{{1}})%n
appender.file.policies.type=SizeBasedTriggeringPolicy
appender.file.policies.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
"
    )
}

/// A properties file takes a backslash for an escape.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    fn lines(service: Service) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let project = Project::at(root.path());
        for (n, service) in Service::all().into_iter().enumerate() {
            std::fs::create_dir_all(project.of(service)).unwrap();
            for (i, name) in ["port", "controller-port", "port-SSL", "port-SASL_SSL"].iter().enumerate() {
                std::fs::write(project.of(service).join(name), format!("{}\n", 20_000 + 10 * n + i)).unwrap();
            }
        }
        Kafka::of(&project, service).properties().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_broker_of_the_cluster_knows_all_and_waits_for_two() {
        let lines = lines(Service::Broker(2));
        let has = |line: &str| assert!(lines.iter().any(|other| other == line), "{line}: {lines:#?}");
        has("node.id=2");
        has("listeners=PLAINTEXT://127.0.0.1:20030,CONTROLLER://127.0.0.1:20031");
        has("controller.quorum.voters=1@127.0.0.1:20021,2@127.0.0.1:20031,3@127.0.0.1:20041");
        has("min.insync.replicas=2");
        has("default.replication.factor=3");
        assert!(!lines.iter().any(|line| line.contains("ssl")));
    }

    #[test]
    fn a_broker_alone_takes_tls() {
        let lines = lines(Service::Kafka39);
        let has = |line: &str| assert!(lines.iter().any(|other| other == line), "{line}: {lines:#?}");
        has(
            "advertised.listeners=PLAINTEXT://127.0.0.1:20010,SSL://127.0.0.1:20012,SASL_SSL://127.0.0.1:20013,\
             SSL_WRONG_NAME://127.0.0.1:0,SSL_EXPIRED://127.0.0.1:0",
        );
        has(
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,SSL_WRONG_NAME:SSL,\
             SSL_EXPIRED:SSL,CONTROLLER:PLAINTEXT",
        );
        has("listener.name.ssl_wrong_name.num.network.threads=1");
        has("min.insync.replicas=1");
    }
}
