//! Starting and ending services.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::interrupt::{self, wait_until};
use crate::lock::Lock;
use crate::project::Project;
use crate::service::{Server, Service};
use crate::{axe, certificates, env_file, file, given, port, postgres, say};

const LOCK: Duration = Duration::from_secs(300);
/// How long a killed process may hold its port.
const PORT: Duration = Duration::from_secs(10);

/// How services are started.
#[derive(Clone, Copy, Default)]
pub struct Up {
    /// With empty data.
    pub fresh: bool,
    /// For a script, the last of which to end stops them again.
    pub temporary: bool,
}

/// Why services are started.
#[derive(Clone, Copy, PartialEq)]
enum Reason {
    Person,
    Script,
    /// A restart, which leaves the mark `temporary` as it is, and the ports.
    Restart,
}

/// Starts what does not run, waits until it answers, and writes the file of addresses. What a start that fails has
/// started is ended.
pub fn up(project: &Project, wanted: &[Service], how: Up) -> Result<()> {
    let _speaker = say::speak_as("services");
    let _lock = lock(project)?;
    let reason = if how.temporary { Reason::Script } else { Reason::Person };
    start(project, wanted, how.fresh, reason)
}

/// Ends services; with `kill` by SIGKILL.
pub fn down(project: &Project, wanted: &[Service], kill: bool) -> Result<()> {
    let _speaker = say::speak_as("services");
    let _lock = lock(project)?;
    for &service in wanted {
        file::remove(&project.of(service).join("temporary"))?;
        down_one(project, service, kill)?;
    }
    write_env(project)
}

/// Ends and starts services, on the same ports.
pub fn restart(project: &Project, wanted: &[Service], kill: bool) -> Result<()> {
    let _speaker = say::speak_as("services");
    let _lock = lock(project)?;
    for &service in wanted {
        if project.of(service).join("given").exists() {
            bail!("the {} given in the environment isn't ours to restart", service.name());
        }
    }
    for &service in wanted {
        down_one(project, service, kill)?;
    }
    start(project, wanted, false, Reason::Restart)
}

/// Ends an instance and removes it with all its data.
pub fn remove(project: &Project) -> Result<()> {
    let Some(name) = project.instance_name() else { bail!("only an instance can be removed") };
    let _speaker = say::speak_as("services");
    let _lock = lock(project)?;
    for service in started(project) {
        // A broker without the others of its cluster takes long to stop, and its data is removed anyway. A PostgreSQL that
        // is killed would leave its shared memory.
        down_one(project, service, service.is_kafka())?;
        service.of(project).remove()?;
    }
    file::remove(&project.dir())?;
    say!("instance {name}: removed");
    Ok(())
}

/// What has been started here at any time, and of the project itself the two that everything needs.
pub fn started(project: &Project) -> Vec<Service> {
    let is_known = |service: &Service| {
        project.of(*service).join("port").exists()
            || (project.instance_name().is_none() && service.is_default())
    };
    Service::all().into_iter().filter(is_known).collect()
}

fn lock(project: &Project) -> Result<Lock> {
    Lock::take(&project.dir().join("lock"), LOCK)
}

fn start(project: &Project, wanted: &[Service], fresh: bool, reason: Reason) -> Result<()> {
    let mut started = Vec::new();
    let result = start_all(project, wanted, fresh, reason, &mut started);
    if result.is_err() {
        let _shield = interrupt::shield();
        for service in started {
            if let Err(error) = service.of(project).stop() {
                say!("{}: {error:#}", service.name());
            }
        }
        write_env(project)?;
        say!("up failed; what it had started is stopped again");
    }
    result
}

fn start_all(
    project: &Project,
    wanted: &[Service],
    fresh: bool,
    reason: Reason,
    started: &mut Vec<Service>,
) -> Result<()> {
    let mut starting = Vec::new();
    for &service in wanted {
        file::make_dir(&project.of(service))?;
        if must_start(project, service, fresh, reason)? {
            starting.push((service, service.of(project)));
        }
    }
    // The brokers of a cluster know the ports of all.
    for (_, server) in &starting {
        server.choose_ports(reason == Reason::Restart)?;
    }
    // Kafka is slow to start: it's started before and waited for after PostgreSQL.
    for (service, server) in &starting {
        mark(&project.of(*service), reason)?;
        started.push(*service);
        server.start()?;
    }
    for (service, server) in &starting {
        server.wait_ready()?;
        say!("{}: running at 127.0.0.1:{}", service.name(), server.port().unwrap_or(0));
    }
    write_env(project)?;
    let path = project.env_file();
    let shown = path.strip_prefix(project.root()).unwrap_or(&path).display();
    say!("the addresses are in {shown}; set them with: . {shown}");
    Ok(())
}

/// False when there's nothing to start, as it runs or is given.
fn must_start(project: &Project, service: Service, fresh: bool, reason: Reason) -> Result<bool> {
    if use_given(project, service)? {
        return Ok(false);
    }
    certificates::need(project)?;
    let server = service.of(project);
    server.prepare()?;
    if fresh {
        server.stop()?;
        server.wipe()?;
    }
    if server.serves() && is_current(project, service, server.as_ref())? {
        say!("{}: already running at 127.0.0.1:{}", service.name(), server.port().unwrap_or(0));
        keep_beyond(&project.of(service), reason)?;
        return Ok(false);
    }
    // One that hangs.
    server.stop()?;
    Ok(true)
}

/// Remembers the address of the environment, when that names a service that isn't ours. An instance starts its own
/// nevertheless.
fn use_given(project: &Project, service: Service) -> Result<bool> {
    let path = project.of(service).join("given");
    let variable = service.variable().and_then(|name| std::env::var(name).ok());
    let value = variable
        .filter(|value| project.instance_name().is_none() && given::is_given(&project.of(service), value));
    let Some(value) = value else {
        file::remove(&path)?;
        return Ok(false);
    };
    // An address may hold a password.
    file::write(&path, &format!("{value}\n"), 0o600)?;
    let name = service.name();
    say!("{name}: using the one given in the environment, starting none");
    if !given::answers(&value) {
        say!("warning: the {name} given in the environment doesn't answer");
    }
    Ok(true)
}

/// It runs with the certificates there are and with the configuration that we would write today, not as an older
/// version of this file has started it.
fn is_current(project: &Project, service: Service, server: &dyn Server) -> Result<bool> {
    let (path, text) = server.configuration()?;
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let is_newer = changed(&path) >= changed(&project.certificates().join("version"));
    if is_newer && fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(true);
    }
    say!("{}: starting it again, with the certificates and the configuration of today", service.name());
    Ok(false)
}

/// A person has asked for what runs there, not only a script.
fn keep_beyond(dir: &Path, reason: Reason) -> Result<()> {
    if reason == Reason::Person { file::remove(&dir.join("temporary")) } else { Ok(()) }
}

fn mark(dir: &Path, reason: Reason) -> Result<()> {
    if reason == Reason::Script {
        return file::write(&dir.join("temporary"), "", 0o644);
    }
    keep_beyond(dir, reason)
}

fn down_one(project: &Project, service: Service, kill: bool) -> Result<()> {
    let (name, server) = (service.name(), service.of(project));
    file::remove(&project.of(service).join("given"))?;
    if server.pid().is_none() {
        say!("{name}: not running");
    } else if kill {
        server.kill()?;
        say!("{name}: killed");
    } else {
        server.stop()?;
        say!("{name}: stopped");
    }
    Ok(())
}

/// Writes the file of addresses from what runs now, and removes it when nothing does.
fn write_env(project: &Project) -> Result<()> {
    let mut lines = String::new();
    for service in Service::all() {
        let more = match fs::read_to_string(project.of(service).join("given")) {
            Ok(given) => given_env(service, given.trim_end()),
            Err(_) => service.of(project).env(),
        };
        // Each broker of a cluster says the same.
        if !lines.contains(&more) {
            lines += &more;
        }
    }
    if lines.is_empty() {
        return file::remove(&project.env_file());
    }
    let certificates = project.certificates();
    if certificates.is_dir() {
        lines += &env_file::line("WEBMON_TEST_CERTS", &certificates.display().to_string());
    }
    let axe = axe::script(project);
    if axe.is_file() {
        lines += &env_file::line("WEBMON_TEST_AXE", &axe.display().to_string());
    }
    file::write(&project.env_file(), &lines, 0o600)
}

fn given_env(service: Service, value: &str) -> String {
    match service {
        Service::Kafka => {
            env_file::line("WEBMON_KAFKA__BROKERS", value) + &env_file::line("WEBMON_TEST_KAFKA", value)
        }
        Service::Postgres => {
            env_file::line("WEBMON_POSTGRES__URL", value)
                + &env_file::line("WEBMON_TEST_POSTGRES", value)
                + &postgres::programs_env()
        }
        _ => String::new(),
    }
}

/// Chooses the port that a file of `dir` remembers, none of another service here.
pub(crate) fn own_port(project: &Project, dir: &Path, name: &str, restart: bool) -> Result<()> {
    let path = dir.join(name);
    // Who was killed a moment ago may still hold it.
    if let Some(port) = port::read(&path)
        && !wait_until(PORT, || port::is_free(port))?
        && restart
    {
        // Who restarts a service counts on the address.
        bail!("somebody else is on port {port} by now");
    }
    let others: Vec<u16> = ports(project, &path);
    let port = port::remembered(&path, &others)?;
    let used = fs::read_to_string(dir.join("ports-used")).unwrap_or_default();
    if !used.lines().any(|line| line.parse() == Ok(port)) {
        file::write(&dir.join("ports-used"), &format!("{used}{port}\n"), 0o644)?;
    }
    Ok(())
}

/// All that are remembered here, but for `except`.
fn ports(project: &Project, except: &Path) -> Vec<u16> {
    let is_port = |name: &str| name == "port" || name == "controller-port" || name.starts_with("port-");
    let dirs = Service::all().into_iter().map(|service| project.of(service));
    let files = dirs.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let files = files.filter(|file| is_port(&file.file_name().to_string_lossy()) && file.path() != except);
    files.filter_map(|file| port::read(&file.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_takes_no_port_that_another_remembers() {
        let root = tempfile::tempdir().unwrap();
        let project = Project::at(root.path());
        let (one, other) = (project.of(Service::Kafka), project.of(Service::Postgres));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(&other).unwrap();
        own_port(&project, &one, "port-SSL", false).unwrap();
        let port = port::read(&one.join("port-SSL")).unwrap();
        fs::write(other.join("port"), format!("{port}\n")).unwrap();
        own_port(&project, &other, "port", false).unwrap();
        let chosen = port::read(&other.join("port")).unwrap();
        assert_ne!(chosen, port);
        own_port(&project, &other, "port", true).unwrap();
        assert_eq!(fs::read_to_string(other.join("ports-used")).unwrap(), format!("{chosen}\n"));
    }

    #[test]
    fn a_service_keeps_the_port_that_its_killed_predecessor_still_holds() {
        let root = tempfile::tempdir().unwrap();
        let project = Project::at(root.path());
        let dir = project.of(Service::Kafka);
        fs::create_dir_all(&dir).unwrap();
        own_port(&project, &dir, "port", false).unwrap();
        let port = port::read(&dir.join("port")).unwrap();
        let held = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        let dying = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(held);
        });
        own_port(&project, &dir, "port", false).unwrap();
        assert_eq!(port::read(&dir.join("port")), Some(port));
        dying.join().unwrap();
    }

    #[test]
    fn a_given_services_address_is_written_and_goes_with_it() {
        let root = tempfile::tempdir().unwrap();
        let project = Project::at(root.path());
        fs::create_dir_all(project.of(Service::Kafka)).unwrap();
        let given = project.of(Service::Kafka).join("given");
        fs::write(&given, "broker:9092\n").unwrap();
        write_env(&project).unwrap();
        assert_eq!(env_file::value(&project.env_file(), "WEBMON_TEST_KAFKA").as_deref(), Some("broker:9092"));
        fs::remove_file(given).unwrap();
        write_env(&project).unwrap();
        assert!(!project.env_file().exists());
    }
}
