//! A mail server that says what a test wants, line by line, and keeps what it is told.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::sites::Server;

/// What was said to it: each command, and each message as one text.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// All so far. It is forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// `says` holds answers by the whole command, or by its first word; by `.` to the content, and by nothing to the
/// connection. To all else it agrees.
pub(crate) fn mail_server(says: &[(&str, &str)]) -> (Server, Told) {
    let says: HashMap<String, String> =
        says.iter().map(|(to, answer)| ((*to).to_owned(), (*answer).to_owned())).collect();
    let told = Told::default();
    let keeps = told.clone();
    let server = Server::start(move |stream| {
        let _ = speak(&stream, &says, &keeps);
    });
    (server, told)
}

fn speak(mut stream: &TcpStream, says: &HashMap<String, String>, told: &Told) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let mut say = |to: &[&str], usual: &str| {
        let answer = to.iter().find_map(|to| says.get(*to)).map_or(usual, String::as_str);
        stream.write_all(format!("{answer}\r\n").as_bytes()).map(|()| answer.to_owned())
    };
    say(&[""], "220 mail.example ESMTP")?;
    while let Some(line) = lines.next().transpose()? {
        told.0.lock().unwrap().push(line.clone());
        let word = line.split([' ', ':']).next().unwrap_or_default();
        let usual = match word {
            "EHLO" => "250-mail.example\r\n250 8BITMIME",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        if say(&[&line, word], usual)?.starts_with("354") {
            let content: Vec<String> = lines
                .by_ref()
                .take_while(|line| line.as_ref().is_ok_and(|line| line != "."))
                .collect::<io::Result<_>>()?;
            told.0.lock().unwrap().push(content.join("\n"));
            say(&["."], "250 2.0.0 queued as 1")?;
        }
    }
    Ok(())
}
