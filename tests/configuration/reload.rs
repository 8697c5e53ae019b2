//! A running checker takes what becomes of its files. It needs no broker: results wait in its spool.

use std::process::{Child, Command, Stdio};

use crate::CHECK;
use crate::folder::{Folder, KAFKA};
use crate::sites::{Server, response};
use crate::support::{Signal, signal, wait_until};

struct Running<'a> {
    folder: &'a Folder,
    child: Child,
}

impl<'a> Running<'a> {
    fn start(folder: &'a Folder) -> Running<'a> {
        let log = std::fs::File::create(folder.path("log")).unwrap();
        let child = Command::new(CHECK)
            .args(["run", "--log-format", "json"])
            .current_dir(folder.0.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let running = Running { folder, child };
        wait_until("it checks", || running.log().contains("\"checking\""));
        running
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path("log")).unwrap()
    }

    /// Waits for the reload of this number, from 1, and returns its line.
    #[track_caller]
    fn reloaded(&self, number: usize) -> serde_json::Value {
        let line = || {
            let log = self.log();
            let line = log.lines().filter(|line| line.contains("\"reloaded\"")).nth(number - 1)?;
            serde_json::from_str(line).ok()
        };
        wait_until("it was reloaded", || line().is_some());
        line().unwrap()
    }

    /// The sites that have waiting results or gaps, and how the chain of each ended, from the spool.
    fn spool(&self) -> Vec<serde_json::Value> {
        let output = self.folder.check(&["spool", "dump"]);
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn site(server: &Server, name: &str, more: &str) -> String {
    format!(
        "[[site]]\nname = {name:?}\nurl = {:?}\nschedule = \"* * * * * *\"\ntimeout = \"800ms\"\n{more}\n",
        server.url("/")
    )
}

#[track_caller]
fn assert_counts(line: &serde_json::Value, sites: u64, disabled: u64, added: u64, retired: u64) {
    let counts = ["sites", "disabled", "added", "retired"].map(|key| line[key].as_u64().unwrap());
    assert_eq!(counts, [sites, disabled, added, retired], "{line}");
}

#[test]
fn files_that_come_change_and_go_reload_the_sites() {
    let server = Server::answering(response("200 OK", &["connection: close"], b"fine"));
    let folder = Folder::new(&format!(
        "include = [\"sites.d/*.toml\"]\n{KAFKA}[site_defaults]\nschedule = \"* * * * * *\"\ntimeout = \"800ms\"\n\
         [[discover]]\nfile = \"targets.d/*.json\"\n{}",
        site(&server, "main", "")
    ));
    let running = Running::start(&folder);
    folder.write("sites.d/a.toml", &site(&server, "a", ""));
    assert_counts(&running.reloaded(1), 2, 0, 1, 0);
    folder.write(
        "targets.d/a.json",
        &format!("[{{\"targets\": [\"{}\"], \"labels\": {{\"name\": \"t\"}}}}]", server.address),
    );
    assert_counts(&running.reloaded(2), 3, 0, 1, 0);
    wait_until("all are checked", || {
        let records = running.spool();
        ["main", "a", "t"].iter().all(|site| records.iter().any(|record| record["site"] == *site))
    });
    // Half written: refused, and all stays.
    folder.replace("sites.d/a.toml", "[[site]]\nname = \"a");
    wait_until("it is refused", || running.log().contains("is refused"));
    let log = running.log();
    assert!(log.contains("sites.d/a.toml:2: is not TOML: line 2"), "{log}");
    folder.replace("sites.d/a.toml", &site(&server, "b", ""));
    assert_counts(&running.reloaded(3), 3, 0, 1, 1);
    std::fs::remove_file(folder.path("sites.d/a.toml")).unwrap();
    assert_counts(&running.reloaded(4), 2, 0, 0, 1);
}

#[test]
fn a_site_that_is_disabled_is_retired_as_if_it_were_removed() {
    let server = Server::answering(response("200 OK", &["connection: close"], b"fine"));
    let toml = |more: &str| format!("{KAFKA}{}", site(&server, "shop", more));
    let folder = Folder::new(&toml(""));
    let running = Running::start(&folder);
    let of_shop =
        |running: &Running| running.spool().into_iter().filter(|record| record["site"] == "shop").collect();
    wait_until("it is checked", || {
        let records: Vec<serde_json::Value> = of_shop(&running);
        records.len() >= 2
    });
    folder.replace("config.toml", &toml("enabled = false"));
    assert_counts(&running.reloaded(1), 0, 1, 0, 1);
    // The instant announced last is taken back, by a gap without an end.
    wait_until("the chain is ended", || {
        let records: Vec<serde_json::Value> = of_shop(&running);
        records.iter().any(|record| record["gap"]["reason"] == "rescheduled" && record["gap"]["to"].is_null())
    });
    folder.replace("config.toml", &toml(""));
    signal(running.child.id().cast_signed(), Signal::HUP).unwrap();
    assert_counts(&running.reloaded(2), 1, 0, 1, 0);
}
