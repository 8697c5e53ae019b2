//! Apache Kafka: one node, or one of the cluster's three.

mod config;
mod data;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::interrupt::wait_until;
use crate::maven::{self, Dependency, Want};
use crate::process::{self, PidFile};
use crate::project::Project;
use crate::service::{BROKERS, Server, Service};
use crate::{env_file, file, packages, port, say, services};

const VERSION: &str = "4.3.0";
const VERSION39: &str = "3.9.2";
const SCALA: &str = "2.13";
/// Kafka logs through SLF4J 1.7, whose Log4j backend is log4j-slf4j-impl (the one of SLF4J 2 is log4j-slf4j2-impl); the
/// version is the one that Kafka itself brings.
const LOG4J: &str = "2.25.4";
const RELOAD4J: &str = "1.7.36";

/// How long it may take to answer. A broker that was killed checks its logs first.
const READY: Duration = Duration::from_secs(90);
const GRACE: Duration = Duration::from_secs(30);

/// Listeners beside PLAINTEXT, with their protocols. The tests know each by WEBMON_TEST_KAFKA_NAME.
const LISTENERS: [(&str, &str); 4] =
    [("SSL", "SSL"), ("SASL_SSL", "SASL_SSL"), ("SSL_WRONG_NAME", "SSL"), ("SSL_EXPIRED", "SSL")];
const SASL_USER: &str = "webmon";

/// A broker: its configuration, data, log and pid file in a directory.
pub struct Kafka<'a> {
    project: &'a Project,
    service: Service,
    dir: PathBuf,
}

impl<'a> Kafka<'a> {
    pub fn of(project: &'a Project, service: Service) -> Kafka<'a> {
        Kafka { project, service, dir: project.of(service) }
    }

    fn version(&self) -> &'static str {
        if self.service == Service::Kafka39 { VERSION39 } else { VERSION }
    }

    /// All in its cluster.
    fn nodes(&self) -> Vec<Kafka<'a>> {
        match self.service {
            Service::Broker(_) => BROKERS.map(|service| Kafka::of(self.project, service)).into(),
            service => vec![Kafka::of(self.project, service)],
        }
    }

    fn number(&self) -> u8 {
        if let Service::Broker(number) = self.service { number } else { 1 }
    }

    /// The cluster is for faults, and has the plain one alone.
    fn listeners(&self) -> &'static [(&'static str, &'static str)] {
        if matches!(self.service, Service::Broker(_)) { &[] } else { &LISTENERS }
    }

    fn pid_file(&self) -> PidFile {
        PidFile::at(self.dir.join("pid"))
    }

    fn port_named(&self, name: &str) -> u16 {
        port::read(&self.dir.join(name)).unwrap_or(0)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port_named("port"))
    }

    /// A Java that runs a class of Kafka's.
    fn java(&self, options: &[&str], class: &str) -> Result<Command> {
        let mut command = Command::new(packages::need_java(self.project.root())?);
        command.args(options).arg("-XX:+UseSerialGC");
        command.arg("-cp").arg(format!("{}/*", self.jars()?.display())).arg(class);
        Ok(command)
    }

    /// The directory of its jars: those of KAFKA_HOME, or fetched.
    fn jars(&self) -> Result<PathBuf> {
        if let (Some(home), VERSION) =
            (std::env::var_os("KAFKA_HOME").filter(|home| !home.is_empty()), self.version())
        {
            let jars = PathBuf::from(&home).join("libs");
            let is_kafka = |name: &str| name.starts_with("kafka_") && name.ends_with(".jar");
            let mut entries = std::fs::read_dir(&jars).into_iter().flatten().flatten();
            if !entries.any(|entry| is_kafka(&entry.file_name().to_string_lossy())) {
                bail!("KAFKA_HOME is {}, but there's no {}/kafka_*.jar", home.display(), jars.display());
            }
            return Ok(jars);
        }
        let version = self.version();
        let jars = self.project.shared().join("kafka/jars").join(version);
        let kafka = format!("kafka_{SCALA}");
        let mut dependencies = vec![Dependency("org.apache.kafka", &kafka, version)];
        // The logging backend that this Kafka has to be run with.
        if self.service == Service::Kafka39 {
            dependencies.push(Dependency("org.slf4j", "slf4j-reload4j", RELOAD4J));
        } else {
            let log4j = |artifact| Dependency("org.apache.logging.log4j", artifact, LOG4J);
            dependencies.extend(["log4j-api", "log4j-core", "log4j-slf4j-impl"].map(log4j));
        }
        let what = format!("Kafka {version}");
        maven::fetch(self.project.root(), &what, Want::Jars, &jars, &dependencies)?;
        Ok(jars)
    }

    /// The broker accepts connections a little before it has finished starting.
    fn has_started(&self) -> bool {
        let log = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log).contains("Kafka Server started")
    }

    /// The lines of its listeners but the plain one.
    fn listeners_env(&self, prefix: &str, wanted: impl Fn(&str) -> bool) -> String {
        let wanted = self.listeners().iter().filter(|(name, _)| wanted(name));
        wanted
            .map(|(name, _)| {
                let port = self.port_named(&format!("port-{name}"));
                env_file::line(&format!("{prefix}_{name}"), &format!("127.0.0.1:{port}"))
            })
            .collect()
    }
}

impl Server for Kafka<'_> {
    fn pid(&self) -> Option<i32> {
        self.pid_file().live()
    }

    fn serves(&self) -> bool {
        self.pid().is_some() && self.port().is_some_and(answers)
    }

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn choose_ports(&self, restart: bool) -> Result<()> {
        let listeners = self.listeners().iter().map(|(name, _)| format!("port-{name}"));
        for name in ["port", "controller-port"].map(str::to_owned).into_iter().chain(listeners) {
            services::own_port(self.project, &self.dir, &name, restart)?;
        }
        Ok(())
    }

    fn start(&self) -> Result<()> {
        // The cluster's live shortly: the second compiler would cost more than it saves.
        let options: &[&str] = match self.service {
            Service::Broker(_) => &["-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1"],
            _ => &["-Xms256m", "-Xmx512m"],
        };
        file::make_dir(&self.dir.join("log"))?;
        let (path, text) = self.configuration()?;
        file::write(&path, &text, 0o644)?;
        self.configure_log()?;
        self.format()?;
        // has_started looks for this run's message.
        file::keep_one_old_log(&self.log())?;
        let output = self.dir.join("log/output.log");
        file::keep_one_old_log(&output)?;
        let logging = self.logging();
        let options =
            [options, &["-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", &logging]].concat();
        let mut command = self.java(&options, "kafka.Kafka")?;
        process::start_daemon(&self.pid_file(), &output, command.arg(path))?;
        Ok(())
    }

    fn wait_ready(&self) -> Result<()> {
        // Settled: there is nothing more to wait for, good or bad.
        let settled = || self.pid().is_none() || (self.has_started() && self.serves());
        if wait_until(READY, settled)? && self.serves() {
            // The cluster is without TLS, and so without users.
            return if self.listeners().is_empty() { Ok(()) } else { self.add_user() };
        }
        say::show_log(&self.dir.join("log/output.log"));
        say::show_log(&self.log());
        match self.pid() {
            None => bail!("Kafka ended while starting"),
            Some(_) => bail!("Kafka didn't answer within {}s", READY.as_secs()),
        }
    }

    fn stop(&self) -> Result<()> {
        self.pid_file().stop(GRACE)
    }

    fn kill(&self) -> Result<()> {
        self.pid_file().kill()
    }

    fn wipe(&self) -> Result<()> {
        file::remove(&self.dir.join("data"))?;
        file::remove(&self.dir.join("cluster-id"))
    }

    fn remove(&self) -> Result<()> {
        Ok(())
    }

    fn configuration(&self) -> Result<(PathBuf, String)> {
        Ok((self.dir.join("server.properties"), self.properties()))
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log/server.log")
    }

    fn port(&self) -> Option<u16> {
        port::read(&self.dir.join("port"))
    }

    fn env(&self) -> String {
        if self.pid().is_none() {
            return String::new();
        }
        let address = self.address();
        match self.service {
            Service::Kafka => [
                env_file::line("WEBMON_KAFKA__BROKERS", &address),
                env_file::line("WEBMON_TEST_KAFKA", &address),
                self.listeners_env("WEBMON_TEST_KAFKA", |_| true),
                env_file::line("WEBMON_TEST_SASL_USERNAME", SASL_USER),
                env_file::line("WEBMON_TEST_SASL_PASSWORD", &self.password()),
            ]
            .concat(),
            // kafka-rust, for which it is there, has no SASL.
            Service::Kafka39 => {
                env_file::line("WEBMON_TEST_KAFKA39", &address)
                    + &self.listeners_env("WEBMON_TEST_KAFKA39", |name| !name.contains("SASL"))
            }
            _ => {
                // All of the cluster, also those that are down for a moment.
                let all: Vec<String> = self.nodes().iter().map(Kafka::address).collect();
                env_file::line("WEBMON_TEST_BROKERS", &all.join(","))
            }
        }
    }
}

/// It replies to a request (ApiVersions, version 0, without a client id), not only to a connection.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = port::connect(port)?;
        stream.write_all(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff").ok()?;
        let mut reply = [0; 8];
        stream.read_exact(&mut reply).ok()?;
        Some(reply[4..] == [0, 0, 0, 1])
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_broker_answers_when_it_replies_to_our_request() {
        for (reply, expected) in [(b"\0\0\0\x04\0\0\0\x01", true), (b"HTTP/1.1", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 14];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(reply).unwrap();
            });
            assert_eq!(answers(port), expected);
            server.join().unwrap();
            assert!(!answers(port));
        }
    }
}
