//! Jobs: pipelines in the background, and `jobs`, `fg`, `bg`, `wait`.
//!
//! A job is a note group, named after its first program. While it is waited for by
//! `fg`, Ctrl-C goes to that group; there is no note that stops a program.

use crate::Shown;
use crate::builtin::{unsupported_option, usage};
use crate::run::{Leave, Ran, USAGE};
use crate::spawn::{NOT_FOUND, report, status};
use crate::state::Shell;
use crate::trap::INTERRUPT;
use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rt::abi::{ProcessInfo, STATUS_KILLED};
use rt::process::{self, Ended};
use rt::{Errno, eprintln, io, println, sys};

/// Ended processes whose statuses are remembered.
const FINISHED_MAX: usize = 64;

/// A program of a job.
struct Member {
    pid: u64,
    name: String,
    running: bool,
}

/// A pipeline in the background.
struct Job {
    /// Counted from 1.
    number: usize,
    /// The command, as it was written.
    text: String,
    /// At least one; `$!` stands for the last.
    members: Vec<Member>,
    /// Status of the last member, and the reason if it was ended from outside.
    status: u8,
    reason: String,
}

impl Job {
    fn is_over(&self) -> bool {
        !self.members.iter().any(|member| member.running)
    }

    /// Its note group.
    fn group(&self) -> u64 {
        self.members.first().map_or(0, |member| member.pid)
    }

    fn running(&self) -> impl Iterator<Item = u64> {
        let running = self.members.iter().filter(|member| member.running);
        running.map(|member| member.pid)
    }

    /// The state, for people.
    fn state(&self) -> String {
        match (self.is_over(), self.status) {
            (false, _) => "Running".into(),
            (true, 0) => "Done".into(),
            (true, _) if !self.reason.is_empty() => Shown(&self.reason).to_string(),
            (true, status) => format!("Done({status})"),
        }
    }
}

/// The jobs, the current one last.
#[derive(Default)]
pub struct Jobs {
    list: Vec<Job>,
    /// Statuses of the processes that ended last, for `wait`.
    finished: VecDeque<(u64, u8)>,
}

impl Jobs {
    /// Adds a job of these processes; its number.
    pub fn add(&mut self, text: &str, children: Vec<(u64, String)>) -> usize {
        let number = self.list.iter().map(|job| job.number).max().unwrap_or(0) + 1;
        let members = children.into_iter().map(|(pid, name)| Member {
            pid,
            name,
            running: true,
        });
        self.list.push(Job {
            number,
            text: text.to_string(),
            members: members.collect(),
            status: 0,
            reason: String::new(),
        });
        number
    }

    /// In a child, whose jobs these are not.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Takes note of the end of a child; its name if it was a member of a job.
    fn ended(&mut self, ended: &Ended) -> Option<String> {
        let pid = ended.pid();
        let has = |job: &&mut Job| job.members.iter().any(|member| member.pid == pid);
        let job = self.list.iter_mut().find(has)?;
        let count = job.members.len();
        let index = job.members.iter().position(|member| member.pid == pid)?;
        let member = job.members.get_mut(index)?;
        member.running = false;
        let name = member.name.clone();
        if index + 1 == count {
            job.status = status(ended);
            if u32::from(ended.status()) == STATUS_KILLED {
                job.reason = ended.text().to_owned();
            }
        }
        if self.finished.len() == FINISHED_MAX {
            self.finished.pop_front();
        }
        self.finished.push_back((pid, status(ended)));
        Some(name)
    }

    fn is_running(&self, pid: Option<u64>) -> bool {
        let mut running = self.list.iter().flat_map(Job::running);
        running.any(|running| pid.is_none_or(|pid| pid == running))
    }

    fn get(&self, number: usize) -> Option<&Job> {
        self.list.iter().find(|job| job.number == number)
    }

    /// The number of the job that a text as `%1` or `%+` stands for.
    ///
    /// # Errors
    /// The reason why there is none, or more than one.
    fn find(&self, text: &str) -> Result<usize, String> {
        let wrong = |reason: &str| Err(format!("{}: {reason}", Shown(text)));
        let name = text.strip_prefix('%').unwrap_or(text);
        let from_end = |back: usize| {
            let index = self.list.len().checked_sub(back)?;
            self.list.get(index).map(|job| job.number)
        };
        let number = match name {
            "" | "%" | "+" => from_end(1),
            "-" => from_end(2).or_else(|| from_end(1)),
            name => match name.parse() {
                Ok(number) => self.get(number).map(|job| job.number),
                Err(_) => {
                    let fits = |job: &&Job| match name.strip_prefix('?') {
                        Some(part) => job.text.contains(part),
                        None => job.text.starts_with(name),
                    };
                    let mut fitting = self.list.iter().filter(fits);
                    let first = fitting.next();
                    if fitting.next().is_some() {
                        return wrong("more than one job");
                    }
                    first.map(|job| job.number)
                }
            },
        };
        number.map_or_else(|| wrong("no such job"), Ok)
    }

    /// The note group of a job, for `kill`; `None` if it is over.
    pub fn group(&self, text: &str) -> Result<Option<u64>, String> {
        let job = self.get(self.find(text)?);
        Ok(job.filter(|job| !job.is_over()).map(Job::group))
    }

    /// A process of a job that runs, for `kill -a`.
    pub fn member(&self, text: &str) -> Result<Option<u64>, String> {
        let job = self.get(self.find(text)?);
        Ok(job.and_then(|job| job.running().next()))
    }

    /// A line about a job.
    fn line(&self, job: &Job, pid: Option<u64>) -> String {
        let back = self.list.iter().rev();
        let place = back.take(2).position(|other| other.number == job.number);
        let mark = match place {
            Some(0) => '+',
            Some(_) => '-',
            None => ' ',
        };
        let pid = pid.map_or(String::new(), |pid| format!("{pid} "));
        let start = format!("[{}] {mark} {pid}{}", job.number, job.state());
        format!("{start:<32} {}", Shown(&job.text))
    }

    /// Lines about the jobs that are over, which are forgotten.
    fn over(&mut self) -> Vec<String> {
        let over = self.list.iter().filter(|job| job.is_over());
        let lines = over.map(|job| self.line(job, None)).collect();
        self.list.retain(|job| !job.is_over());
        lines
    }
}

impl Shell {
    /// Handles the end of a child of a job. In a script, a member that was ended from
    /// outside is reported at once; at a prompt, the job is before the next one.
    pub fn ended(&mut self, ended: &Ended) {
        if let Some(name) = self.jobs.ended(ended)
            && self.console.is_none()
        {
            report(&name, ended);
        }
    }

    /// Collects children of jobs that have ended, without waiting.
    pub fn reap(&mut self) {
        if !self.jobs.is_running(None) {
            return;
        }
        let me = sys::getpid();
        let is_over = |info: &ProcessInfo| info.parent == me && info.state == ProcessInfo::ENDED;
        for _ in process::list().filter(is_over) {
            match process::wait() {
                Ok(ended) => self.ended(&ended),
                Err(_) => return,
            }
        }
    }

    /// At a prompt: tells which jobs are over.
    pub fn announce(&mut self) {
        self.reap();
        for line in self.jobs.over() {
            eprintln!("{line}");
        }
    }

    /// Directs Ctrl-C to this note group.
    fn direct_interrupts(&self, group: u64) {
        if let Some(console) = &self.console {
            console.foreground(group);
        }
    }

    /// Waits until a process of a job has ended, or all.
    fn wait_while_running(&mut self, pid: Option<u64>) -> Result<Option<u8>, Leave> {
        while self.jobs.is_running(pid) {
            match process::wait() {
                Ok(ended) => self.ended(&ended),
                Err(Errno::EINTR) if self.take_interrupt() => return Err(Leave::Interrupted),
                Err(Errno::EINTR) => {
                    if let Some(status) = self.trapped() {
                        return Ok(Some(status));
                    }
                }
                Err(_) => self.jobs.clear(),
            }
        }
        Ok(None)
    }
}

/// Reports that a job was not found.
fn not_found(command: &str, wrong: &str) -> Ran {
    eprintln!("{command}: {wrong}");
    Ok(USAGE)
}

/// `wait [PROCESS | %JOB]...`: the status of the last one.
pub fn wait(shell: &mut Shell, args: &[&str]) -> Ran {
    if args.is_empty() {
        let trapped = shell.wait_while_running(None)?;
        if shell.console.is_none() {
            shell.jobs.over();
        }
        return Ok(trapped.unwrap_or(0));
    }
    let mut status = 0;
    for arg in args {
        let pids = match arg.starts_with('%') {
            true => match shell.jobs.find(arg) {
                Ok(number) => {
                    let job = shell.jobs.get(number);
                    let members = job.map(|job| job.members.iter().map(|member| member.pid));
                    members.map(Iterator::collect).unwrap_or_default()
                }
                Err(wrong) => {
                    eprintln!("wait: {wrong}");
                    status = NOT_FOUND;
                    continue;
                }
            },
            false => match arg.parse::<u64>() {
                Ok(pid) => Vec::from([pid]),
                Err(_) => return usage("wait [PROCESS | %JOB]..."),
            },
        };
        for pid in pids {
            if let Some(trapped) = shell.wait_while_running(Some(pid))? {
                return Ok(trapped);
            }
            let finished = shell.jobs.finished.iter().rev();
            let mut finished = finished.filter(|(ended, _)| *ended == pid);
            status = match finished.next() {
                Some((_, status)) => *status,
                None => {
                    eprintln!("wait: {pid}: not a child in the background");
                    NOT_FOUND
                }
            };
        }
    }
    if shell.console.is_none() {
        shell.jobs.over();
    }
    Ok(status)
}

/// `jobs [-lp] [%JOB...]`
pub fn jobs(shell: &mut Shell, args: &[&str]) -> Ran {
    let (option, names) = match args {
        ["-l", names @ ..] => ('l', names),
        ["-p", names @ ..] => ('p', names),
        ["--", names @ ..] => (' ', names),
        [option, ..] if option.starts_with('-') => return unsupported_option("jobs", option),
        names => (' ', names),
    };
    shell.reap();
    let mut chosen = Vec::new();
    for name in names {
        match shell.jobs.find(name) {
            Ok(number) => chosen.push(number),
            Err(wrong) => return not_found("jobs", &wrong),
        }
    }
    let mut list: Vec<&Job> = shell.jobs.list.iter().collect();
    list.retain(|job| names.is_empty() || chosen.contains(&job.number));
    list.sort_by_key(|job| job.number);
    for job in &list {
        let first = job.members.first().map(|member| member.pid);
        match option {
            'p' => println!("{}", first.unwrap_or_default()),
            'l' => println!("{}", shell.jobs.line(job, first)),
            _ => println!("{}", shell.jobs.line(job, None)),
        }
    }
    if option != 'p' {
        let shown: Vec<usize> = list.iter().map(|job| job.number).collect();
        let gone = |job: &Job| job.is_over() && shown.contains(&job.number);
        shell.jobs.list.retain(|job| !gone(job));
    }
    Ok(0)
}

/// The job that an argument of `fg` or `bg` names, or the current one.
fn chosen(shell: &mut Shell, command: &str, args: &[&str]) -> Result<usize, String> {
    let name = match args {
        [] => "%",
        [name] => name,
        _ => return Err("one job at a time".into()),
    };
    if shell.console.is_none() {
        return Err("no job control in a script".into());
    }
    shell.reap();
    let number = shell.jobs.find(name)?;
    match shell.jobs.get(number) {
        Some(job) if job.is_over() && command == "bg" => Err(format!("{}: is over", Shown(name))),
        _ => Ok(number),
    }
}

/// `bg [%JOB]`: there are no stopped jobs, so it goes on already.
pub fn bg(shell: &mut Shell, args: &[&str]) -> Ran {
    match chosen(shell, "bg", args) {
        Ok(number) => {
            let text = shell.jobs.get(number).map_or("", |job| &job.text);
            println!("[{number}] {}", Shown(text));
            Ok(0)
        }
        Err(wrong) => not_found("bg", &wrong),
    }
}

/// `fg [%JOB]`: waits for a job, to which Ctrl-C goes meanwhile.
pub fn fg(shell: &mut Shell, args: &[&str]) -> Ran {
    let number = match chosen(shell, "fg", args) {
        Ok(number) => number,
        Err(wrong) => return not_found("fg", &wrong),
    };
    let index = shell.jobs.list.iter().position(|job| job.number == number);
    let Some(index) = index else { return Ok(0) };
    // It is the current job from now on.
    let job = shell.jobs.list.remove(index);
    println!("{}", Shown(&job.text));
    let flushed = io::flush();
    let (group, running): (u64, Vec<u64>) = (job.group(), job.running().collect());
    shell.jobs.list.push(job);
    if let Err(errno) = flushed {
        eprintln!("fg: standard output: {errno}");
    }
    shell.direct_interrupts(group);
    let mut waited = Ok(None);
    for pid in running {
        waited = shell.wait_while_running(Some(pid));
        if !matches!(waited, Ok(None)) {
            break;
        }
    }
    shell.direct_interrupts(own_group());
    if let Some(trapped) = waited? {
        return Ok(trapped);
    }
    let Some(job) = shell.jobs.list.pop_if(|job| job.number == number) else {
        return Ok(0);
    };
    match job.reason == INTERRUPT {
        true => Err(Leave::Interrupted),
        false => Ok(job.status),
    }
}

/// The note group of this shell.
fn own_group() -> u64 {
    let me = sys::getpid();
    let own = process::list().find(|info| info.pid == me);
    own.map_or(me, |info| info.group)
}
