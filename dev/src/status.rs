//! The table of services.

use std::fs;

use crate::given;
use crate::project::Project;
use crate::service::{Server, Service};
use crate::{file, say, services};

/// Prints it; whether kafka and postgres, or all that an instance has, can be used.
pub fn print(project: &Project) -> bool {
    row("SERVICE", "STATE", "ADDRESS", "PID", "LOG");
    let all = print_services(project);
    let mut names: Vec<String> = fs::read_dir(project.dir().join("instances"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names {
        print_services(&project.instance(&name));
    }
    all
}

fn print_services(project: &Project) -> bool {
    let mut all = true;
    for service in services::started(project) {
        let is_needed = project.instance_name().is_some() || service.is_default();
        all &= print_service(project, service) || !is_needed;
    }
    all
}

fn print_service(project: &Project, service: Service) -> bool {
    let name = match project.instance_name() {
        Some(instance) => format!("{instance}/{}", service.name()),
        None => service.name(),
    };
    let given = project.of(service).join("given");
    if given.exists() {
        let address = file::first_line(&given);
        let answers = given::answers(&address);
        let state = if answers { "given" } else { "not answering" };
        row(&name, state, &given::without_password(&address), "-", "-");
        return answers;
    }
    let server = service.of(project);
    let log = server.log().display().to_string();
    let Some(pid) = server.pid() else {
        row(&name, "stopped", "-", "-", &log);
        return false;
    };
    let serves = server.serves();
    let state = if serves { "running" } else { "not answering" };
    row(&name, state, &address(server.as_ref()), &pid.to_string(), &log);
    serves
}

fn address(server: &dyn Server) -> String {
    format!("127.0.0.1:{}", server.port().unwrap_or(0))
}

fn row(service: &str, state: &str, address: &str, pid: &str, log: &str) {
    say::answer(&format!("{service:<10} {state:<14} {address:<22} {pid:<8} {log}\n"));
}
