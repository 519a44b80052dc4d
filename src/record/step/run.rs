//! The stepper: opens windows, steps map calls, lets go.

use super::cache::{Caches, Geometries, MOST_CORES};
use super::code::{Access, Code, Flow};
use super::emulate::{self, Effect};
use super::guard::Ledger;
use super::ptrace::{self, Memory, Registers, Stop};
use super::sample::{CPUID, LOADS, STORES, Sample, events};
use super::thread::{Away, Call, Phase, Traps};
use crate::program::{Arch, Program, ProgramError};
use crate::record::features::{self, BuildId, Facts};
use crate::record::file::{PerfData, record, user};
use crate::record::machine::Machine;
use crate::record::session::now;
use crate::record::signals::Signals;
use crate::record::target::{Ended, Process, Target};
use crate::record::{Event, RecordError, synthesize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who executes the simple instructions of map code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulate {
    /// The thread, as all others.
    No,
    /// The recorder.
    Yes,
    /// Both, and what they make of registers and memory is compared.
    Check,
}

/// What is to be stepped, and how much of it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub target: Target,
    pub output: PathBuf,
    /// Map calls are stepped for so long ...
    pub window: Duration,
    /// ... and then the program runs natively for so long.
    pub pause: Duration,
    pub duration: Option<Duration>,
    /// Every so many loads, and stores, are a sample.
    pub period: u64,
    pub caches: Geometries,
    pub emulate: Emulate,
    /// Modelled cores; a thread has one of its own while there are enough.
    pub cores: usize,
    pub cmdline: Vec<String>,
}

impl Plan {
    /// Half of the time, every access a sample, as many cores as the machine has.
    pub fn new(target: Target, output: PathBuf, caches: Geometries) -> Plan {
        let cores = std::thread::available_parallelism().map_or(4, |cores| cores.get().max(4));
        Plan {
            target,
            output,
            window: Duration::from_millis(100),
            pause: Duration::from_millis(100),
            duration: None,
            period: 1,
            caches,
            emulate: Emulate::Yes,
            cores: cores.min(MOST_CORES),
            cmdline: std::env::args().collect(),
        }
    }
}

/// Why it came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Process(Ended),
    Time,
    Signal(i32),
    /// The process executes another program.
    Exec,
}

/// A modelled recording that was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Done {
    pub samples: u64,
    /// Instructions executed one by one ...
    pub steps: u64,
    /// ... and those of them that the recorder executed.
    pub emulated: u64,
    /// Emulated instructions that came out otherwise than the thread's own.
    pub differing: u64,
    /// Map calls that were stepped to their end, and those that were not.
    pub calls: u64,
    pub cut: u64,
    /// Time in which something was stepped.
    pub stepping: Duration,
    pub windows: u64,
    pub bytes: u64,
    pub why: Why,
    pub process: Ended,
}

#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Record(#[from] RecordError),

    #[error("process {pid}: its program cannot be read: {error}")]
    Program { pid: i32, error: Box<ProgramError> },

    #[error(
        "process {pid} runs no Go program for x86-64 with map functions: only those are stepped"
    )]
    NotGo { pid: i32 },

    #[error(
        "process {pid}: ptrace was refused ({error}): run mempath as root, or lower kernel.yama.ptrace_scope, or let mempath start the program; a process that a debugger holds cannot be stepped"
    )]
    Ptrace { pid: i32, error: io::Error },
}

/// The stepper looks after other threads after so many rounds of steps.
const ROUNDS: usize = 32;
/// Longest time without a look at the clock.
const PATIENCE: Duration = Duration::from_millis(20);
/// Samples are written when so many bytes of them are there.
const BATCH: usize = 256 << 10;

/// What a thread does.
#[derive(Debug, Default)]
struct Thread {
    core: usize,
    /// It is stopped, and is stepped through this call; with its registers.
    call: Option<(Call, Registers)>,
    /// Its registers, where the recorder executed for it and it does not have them yet.
    ahead: Option<Registers>,
    /// Signals that wait until the call is over.
    signals: VecDeque<i32>,
}

/// Takes one of so many accesses in the mean. Loops make accesses in turn: every n-th of them may be the
/// same one each time, so the gaps vary.
struct Sampler {
    period: u64,
    left: u64,
    /// Of the gaps: the same program gives the same ones (Marsaglia 2003, xorshift).
    state: u64,
}

impl Sampler {
    fn new(period: u64) -> Sampler {
        Sampler {
            period,
            left: period,
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn takes(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        if self.left != 0 {
            return false;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        // From 1 to twice the period less 1: the period in the mean.
        self.left = 1 + self.state % (2 * self.period.min(u64::MAX / 4) - 1);
        true
    }
}

struct Stepper {
    pid: i32,
    code: Code,
    traps: Traps,
    threads: BTreeMap<i32, Thread>,
    away: Vec<Away>,
    /// Processes that were forked: whether they share our memory. Stops that came before that is
    /// known.
    forked: BTreeMap<i32, bool>,
    early: Vec<i32>,
    open: bool,
    emulate: Emulate,
    caches: Caches,
    cores: usize,
    period: u64,
    /// Of loads, and of stores.
    samplers: [Sampler; 2],
    done: Done,
    times: Option<(u64, u64)>,
    buffer: Vec<u8>,
    accesses: Vec<Access>,
    ended: Option<Why>,
}

/// Steps map calls of the target until it ends, the time is over, or Ctrl-C. What would have to be undone
/// stands in the ledger.
///
/// # Errors
///
/// When the process cannot be had or traced, or the file not be written.
pub fn run(plan: &Plan, machine: Machine, ledger: Ledger) -> Result<Done, StepError> {
    let signals = Signals::hold_with(&[libc::SIGCHLD])?;
    let mut process = Process::of(&plan.target)?;
    let (pid, ours) = (process.pid, process.is_ours());
    let refused = |error| StepError::Ptrace { pid, error };
    for tid in process.threads()? {
        match ptrace::seize(tid, ours) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            other => other.map_err(refused)?,
        }
    }
    if ours {
        process.release()?;
        // It stands still after its exec.
        ptrace::wait_for(pid, true);
    }
    let code = code(pid)?;
    let memory = Memory::of(pid).map_err(refused)?;
    let file = File::create(plan, machine)?;
    // A program of our own dies with us.
    if !ours {
        ledger.wait_for_parent();
        ledger.begin(pid);
    }
    let mut stepper = Stepper::new(plan, pid, code, Traps::new(memory, ledger));
    for (core, tid) in process.threads()?.into_iter().enumerate() {
        let thread = Thread {
            core,
            ..Thread::default()
        };
        stepper.threads.insert(tid, thread);
    }
    if ours {
        ptrace::resume(pid, 0).map_err(refused)?;
    }
    let result = stepper.all(plan, &signals, file);
    // Whatever went wrong, the program runs on as it was.
    stepper.let_go();
    stepper.traps.ledger.end();
    let (why, bytes) = match result {
        Ok(done) => done,
        Err(error) => {
            process.end();
            return Err(error);
        }
    };
    let ended = match (stepper.done.process, why) {
        (Ended::No, Why::Signal(_) | Why::Time) => process.end(),
        (Ended::No, _) => process.wait(),
        // Waiting for threads takes the end of a child, too, even of one that was let go.
        (ended, _) => ended,
    };
    Ok(Done {
        why,
        bytes,
        process: ended,
        ..stepper.done
    })
}

fn code(pid: i32) -> Result<Code, StepError> {
    let program = Program::open(&PathBuf::from(format!("/proc/{pid}/exe")));
    let program = program.map_err(|error| StepError::Program {
        pid,
        error: Box::new(error),
    })?;
    if program.go.is_none() || program.arch != Arch::X86_64 {
        return Err(StepError::NotGo { pid });
    }
    let bias = synthesize::bias(pid, &program)?;
    let code = Code::new(program, bias);
    match code.entries.is_empty() {
        true => Err(StepError::NotGo { pid }),
        false => Ok(code),
    }
}

/// The recording, with what its header says.
struct File {
    data: PerfData,
    events: Vec<(Event, Vec<u64>)>,
    machine: Machine,
    cmdline: Vec<String>,
}

impl File {
    fn create(plan: &Plan, mut machine: Machine) -> Result<File, RecordError> {
        let events = events(plan.period);
        machine.cpu_desc = format!(
            "modelled: levels, latencies and cores simulated ({}, {} cores), code, addresses and \
             clock real, of stepped map calls; laid out as on Intel(R) Xeon(R) Gold 6342 CPU @ 2.80GHz",
            plan.caches.text(),
            plan.cores,
        );
        machine.cpuid = CPUID.to_owned();
        // perf c2c looks samples' CPUs up among the node's.
        machine.cpus_online = plan.cores as u32;
        machine.cpus_available = plan.cores as u32;
        machine.nodes.truncate(1);
        for node in &mut machine.nodes {
            node.cpus = format!("0-{}", plan.cores.saturating_sub(1));
        }
        let mut data = PerfData::create(&plan.output, &events, 0)?;
        let sections = features::of_machine(&machine, &events);
        data.append(&features::in_stream(&sections, &events))?;
        Ok(File {
            data,
            events,
            machine,
            cmdline: plan.cmdline.clone(),
        })
    }

    /// Writes what is mapped at this moment.
    fn tell_process(&mut self, pid: i32) -> Result<(), RecordError> {
        let Some((event, _)) = self.events.first() else {
            return Ok(());
        };
        match synthesize::process(pid, event) {
            Ok(records) => self.data.append(&records),
            // It has just ended.
            Err(_) => Ok(()),
        }
    }

    fn finish(
        self,
        pid_exe: Option<BuildId>,
        times: Option<(u64, u64)>,
    ) -> Result<u64, RecordError> {
        let facts = Facts {
            times,
            clocks: (now(libc::CLOCK_REALTIME), now(libc::CLOCK_MONOTONIC)),
            build_ids: pid_exe.into_iter().collect(),
            cmdline: self.cmdline,
            ..Facts::default()
        };
        let mut sections = features::of_machine(&self.machine, &self.events);
        sections.extend(features::of_recording(&facts, &self.events));
        self.data.finish(&sections)
    }
}

impl Stepper {
    fn new(plan: &Plan, pid: i32, code: Code, traps: Traps) -> Stepper {
        Stepper {
            pid,
            code,
            traps,
            threads: BTreeMap::new(),
            away: Vec::new(),
            forked: BTreeMap::new(),
            early: Vec::new(),
            open: false,
            emulate: plan.emulate,
            caches: Caches::new(&plan.caches, plan.cores.min(MOST_CORES)),
            cores: plan.cores.clamp(1, MOST_CORES),
            period: plan.period.max(1),
            samplers: [
                Sampler::new(plan.period.max(1)),
                Sampler::new(plan.period.max(1)),
            ],
            done: Done {
                samples: 0,
                steps: 0,
                emulated: 0,
                differing: 0,
                calls: 0,
                cut: 0,
                stepping: Duration::ZERO,
                windows: 0,
                bytes: 0,
                why: Why::Time,
                process: Ended::No,
            },
            times: None,
            buffer: Vec::new(),
            accesses: Vec::new(),
            ended: None,
        }
    }

    fn all(
        &mut self,
        plan: &Plan,
        signals: &Signals,
        mut file: File,
    ) -> Result<(Why, u64), StepError> {
        let exe = executable(self.pid);
        let followed = self.follow(plan, signals, &mut file).and_then(|why| {
            self.flush(&mut file)?;
            file.tell_process(self.pid)?;
            Ok(why)
        });
        // Where the disk is full, what is there is ended properly.
        let bytes = file.finish(exe, self.times)?;
        Ok((followed?, bytes))
    }

    fn follow(
        &mut self,
        plan: &Plan,
        signals: &Signals,
        file: &mut File,
    ) -> Result<Why, StepError> {
        let begin = Instant::now();
        // The first window opens at once: short programs are over soon.
        let (mut next, mut before) = (begin, 0);
        loop {
            if let Some(why) = self.ended {
                return Ok(why);
            }
            let time = Instant::now();
            if plan.duration.is_some_and(|all| time - begin >= all) {
                return Ok(Why::Time);
            }
            while let Some(signal) = signals.arrived() {
                if signal != libc::SIGCHLD {
                    self.ended = Some(Why::Signal(signal));
                }
            }
            if time >= next {
                next = time + plan.window;
                match self.open {
                    false => {
                        before = self.done.steps;
                        self.open_window(file)?;
                    }
                    // Nothing was stepped, so that there is nothing to recover from.
                    true if self.done.steps == before => file.tell_process(self.pid)?,
                    true => {
                        next = time + plan.pause;
                        self.close_window();
                    }
                }
            }
            if self.stepped() {
                self.rounds();
                self.done.stepping += time.elapsed();
            } else {
                let patience = next.saturating_duration_since(Instant::now()).min(PATIENCE);
                signals.wait(patience);
            }
            self.serve();
            if self.buffer.len() >= BATCH {
                self.flush(file)?;
            }
        }
    }

    fn open_window(&mut self, file: &mut File) -> Result<(), StepError> {
        self.flush(file)?;
        file.tell_process(self.pid)?;
        for entry in self.code.entries.clone() {
            // The process may be ending.
            let _ = self.traps.set_entry(entry);
        }
        self.open = true;
        self.done.windows += 1;
        Ok(())
    }

    /// Takes all int3s out; calls that are being stepped go on to their end.
    fn close_window(&mut self) {
        self.open = false;
        self.done.cut += self.away.len() as u64;
        self.away.clear();
        // The process may be ending.
        let _ = self.traps.clear_all();
    }

    fn flush(&mut self, file: &mut File) -> Result<(), RecordError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend(record(user::FINISHED_ROUND, 0, &[]).unwrap_or_default());
        let written = file.data.append(&buffer);
        buffer.clear();
        self.buffer = buffer;
        written
    }

    fn stepped(&self) -> bool {
        self.threads.values().any(|thread| thread.call.is_some())
    }

    /// One instruction of each call in turn, some times.
    fn rounds(&mut self) {
        for _ in 0..ROUNDS {
            let tids: Vec<i32> = (self.threads.iter())
                .filter(|(_, thread)| thread.call.is_some())
                .map(|(tid, _)| *tid)
                .collect();
            if tids.is_empty() {
                return;
            }
            for tid in tids {
                self.advance(tid);
            }
        }
    }

    /// Takes the stops that are there.
    fn serve(&mut self) {
        while let Some((tid, stop)) = ptrace::wait(false) {
            self.stopped(tid, stop);
            if self.ended.is_some() {
                return;
            }
        }
    }

    /// Executes one instruction of a call.
    fn advance(&mut self, tid: i32) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let Some((mut call, before)) = thread.call.take() else {
            return;
        };
        let core = thread.core;
        let mut accesses = std::mem::take(&mut self.accesses);
        accesses.clear();
        let flow = self.code.look(&before, &mut accesses);
        let after = self.execute(tid, &before);
        if let Some(after) = &after {
            self.done.steps += 1;
            for access in &accesses {
                self.sample(tid, core, &call, &before, after, access);
            }
        }
        self.accesses = accesses;
        let Some(after) = after else {
            self.done.cut += 1;
            return;
        };
        let returned = call.returned(&after);
        match &mut call.phase {
            Phase::Map if returned => match self.code.function(after.rip) {
                Some(function) => {
                    call.back_in_caller(function);
                    self.keep(tid, call, after);
                }
                None => self.over(tid),
            },
            Phase::Map if self.code.in_map_code(after.rip) => {
                call.follow(&after, flow == Flow::Call, &self.traps.memory);
                self.keep(tid, call, after);
            }
            Phase::Map => self.leave(tid, call, &after),
            Phase::Caller { left, function } => {
                *left = left.saturating_sub(1);
                let goes_on = *left > 0 && flow != Flow::Call && function.contains(&after.rip);
                match goes_on && !self.traps.is_entry(after.rip) {
                    true => self.keep(tid, call, after),
                    false => self.over(tid),
                }
            }
        }
    }

    /// Executes the instruction that was looked at, by whom it is to be.
    fn execute(&mut self, tid: i32, before: &Registers) -> Option<Registers> {
        let effect = match self.emulate {
            Emulate::No => None,
            _ => self.emulated(before),
        };
        let (Some(effect), Emulate::Yes) = (effect, self.emulate) else {
            let after = self.step(tid, before.rip)?;
            if let Some(effect) = effect {
                self.done.emulated += 1;
                // Another thread may have stored in between: the scheduler asks for preemption in
                // the word that every function looks at first.
                let again = || {
                    self.emulated(before)
                        .is_some_and(|e| self.agrees(&e, before.rip, &after))
                };
                let same = self.agrees(&effect, before.rip, &after) || again();
                self.done.differing += u64::from(!same);
            }
            return Some(after);
        };
        let write = match &effect.write {
            Some(write) => Some((write.addr, write.bytes.get(..write.len)?)),
            None => None,
        };
        if !(self.traps.ledger).ahead(tid, &effect.registers, write) {
            return self.step(tid, before.rip);
        }
        let stored = write.map(|(addr, bytes)| self.traps.memory.store(addr, bytes));
        if stored == Some(None) {
            self.traps.ledger.ahead(tid, before, None);
            self.threads.get_mut(&tid)?.ahead = Some(*before);
            return self.step(tid, before.rip);
        }
        self.done.emulated += 1;
        self.threads.get_mut(&tid)?.ahead = Some(effect.registers);
        Some(effect.registers)
    }

    fn emulated(&self, before: &Registers) -> Option<Effect> {
        let instruction = self.code.instruction(before.rip)?;
        let load = |addr, len| self.traps.memory.load(addr, len);
        emulate::execute(instruction, before, load)
    }

    /// Whether the thread's own execution came to the same.
    fn agrees(&self, effect: &Effect, ip: u64, after: &Registers) -> bool {
        let undefined = self.code.instruction(ip).map_or(0, emulate::undefined);
        let flags = emulate::STATUS & !undefined;
        let values = |r: &Registers| {
            [
                r.rip,
                r.rsp,
                r.rbp,
                r.rax,
                r.rbx,
                r.rcx,
                r.rdx,
                r.rsi,
                r.rdi,
                r.r8,
                r.r9,
                r.r10,
                r.r11,
                r.r12,
                r.r13,
                r.r14,
                r.r15,
                r.eflags & flags,
            ]
        };
        let stored = effect.write.is_none_or(|write| {
            let mut wanted = [0; 8];
            let bytes = write.bytes.iter().take(write.len);
            wanted.iter_mut().zip(bytes).for_each(|(w, b)| *w = *b);
            self.traps.memory.load(write.addr, write.len) == Some(u64::from_le_bytes(wanted))
        });
        values(&effect.registers) == values(after) && stored
    }

    /// Gives a thread the registers that it would have, had it executed all by itself.
    fn catch_up(&mut self, tid: i32) {
        let ahead = (self.threads.get_mut(&tid)).and_then(|thread| thread.ahead.take());
        if let Some(registers) = ahead {
            // It may have been killed.
            let _ = ptrace::set_registers(tid, &registers);
            self.traps.ledger.caught_up(tid);
        }
    }

    fn keep(&mut self, tid: i32, call: Call, registers: Registers) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.call = Some((call, registers));
        }
    }

    /// Map code has called other code: native, until that returns.
    fn leave(&mut self, tid: i32, call: Call, registers: &Registers) {
        let back = self.traps.memory.u64(registers.rsp);
        let trap = back.filter(|_| self.open);
        match trap.map(|back| (back, self.traps.set_return(back))) {
            Some((back, Ok(()))) => self.away.push(Away {
                call,
                back,
                sp: registers.rsp.wrapping_add(8),
            }),
            _ => self.done.cut += 1,
        }
        self.release(tid);
    }

    fn over(&mut self, tid: i32) {
        self.done.calls += 1;
        self.release(tid);
    }

    /// Lets a stopped thread run, and gives it a signal that waited for that.
    fn release(&mut self, tid: i32) {
        self.catch_up(tid);
        let signal = (self.threads.get_mut(&tid)).and_then(|thread| thread.signals.pop_front());
        // Of several, the others are sent anew: only one can be delivered with a resume.
        let rest = self
            .threads
            .get_mut(&tid)
            .map(|thread| std::mem::take(&mut thread.signals));
        for signal in rest.into_iter().flatten() {
            // SAFETY: a signal to a thread that is traced by us.
            unsafe { libc::syscall(libc::SYS_tgkill, self.pid, tid, signal) };
        }
        // It may have been killed.
        let _ = ptrace::resume(tid, signal.unwrap_or(0));
    }

    /// One instruction, past an int3 of our own. `None` when the thread is no longer ours to step: it
    /// has ended, or a fault's signal was delivered.
    fn step(&mut self, tid: i32, ip: u64) -> Option<Registers> {
        self.catch_up(tid);
        let trapped = self.traps.is_set(ip);
        if trapped {
            self.traps.lift(ip).ok()?;
        }
        let stepped = self.step_natively(tid);
        if trapped {
            // The process may be ending.
            let _ = self.traps.put(ip);
        }
        stepped
    }

    fn step_natively(&mut self, tid: i32) -> Option<Registers> {
        loop {
            ptrace::step(tid).ok()?;
            let (_, stop) = ptrace::wait_for(tid, true)?;
            match stop {
                Stop::Signal(libc::SIGTRAP) => return ptrace::registers(tid).ok(),
                Stop::Signal(
                    fault @ (libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL),
                ) => {
                    // It did not execute: the program's handler decides what follows.
                    let _ = ptrace::resume(tid, fault);
                    return None;
                }
                // Not delivered in the middle of a call: a goroutine would be preempted here only
                // because it is slow here.
                Stop::Signal(signal) => {
                    let thread = self.threads.get_mut(&tid)?;
                    if !thread.signals.contains(&signal) {
                        thread.signals.push_back(signal);
                    }
                }
                Stop::Asked | Stop::Group => {}
                other => {
                    self.stopped(tid, other);
                    return None;
                }
            }
        }
    }

    fn sample(
        &mut self,
        tid: i32,
        core: usize,
        call: &Call,
        before: &Registers,
        after: &Registers,
        access: &Access,
    ) {
        let kinds = [(access.load, LOADS, 0), (access.store, STORES, 1)];
        for (does, id, kind) in kinds {
            if !does {
                continue;
            }
            let store = id == STORES;
            let answer = self.caches.access(core, access.addr, access.size, store);
            let Some(sampler) = self.samplers.get_mut(kind) else {
                continue;
            };
            if !sampler.takes() {
                continue;
            }
            let time = now(libc::CLOCK_MONOTONIC);
            let (first, _) = self.times.unwrap_or((time, time));
            self.times = Some((first, time));
            self.done.samples += 1;
            let sample = Sample {
                id,
                ip: before.rip,
                pid: self.pid,
                tid,
                time,
                addr: access.addr,
                // A thread beyond the cores shares one, as the caches have it.
                core: (core % self.cores) as u32,
                period: self.period,
                callers: &call.callers(),
                answer,
                registers: after,
            };
            sample.write(&mut self.buffer);
        }
    }

    /// A thread, or a new process, stands still by itself.
    fn stopped(&mut self, tid: i32, stop: Stop) {
        match stop {
            Stop::Exit(_) | Stop::Killed(_) => self.gone(tid, stop),
            _ if !self.threads.contains_key(&tid) && !self.adopt(tid) => {}
            Stop::Signal(libc::SIGTRAP) => self.trapped(tid),
            Stop::Signal(signal) => {
                let _ = ptrace::resume(tid, signal);
            }
            Stop::Clone | Stop::Asked | Stop::Ending => {
                let _ = ptrace::resume(tid, 0);
            }
            Stop::Fork | Stop::VFork => {
                if let Ok(child) = ptrace::made(tid) {
                    self.forked.insert(child, stop == Stop::VFork);
                    if let Some(at) = self.early.iter().position(|early| *early == child) {
                        self.early.swap_remove(at);
                        self.dismiss(child);
                    }
                }
                let _ = ptrace::resume(tid, 0);
            }
            Stop::Exec => {
                self.traps.forget();
                self.threads.retain(|thread, _| *thread == tid);
                self.ended = Some(Why::Exec);
                let _ = ptrace::detach(tid, 0);
                self.threads.remove(&tid);
            }
            Stop::Group => {
                let _ = ptrace::listen(tid);
            }
        }
    }

    /// Whether a thread that we have not met is one of the process; another process is let go.
    fn adopt(&mut self, tid: i32) -> bool {
        if Path::new(&format!("/proc/{}/task/{tid}", self.pid)).exists() {
            let core = self.threads.len();
            let thread = Thread {
                core,
                ..Thread::default()
            };
            self.threads.insert(tid, thread);
            return true;
        }
        match self.forked.contains_key(&tid) {
            true => self.dismiss(tid),
            false => self.early.push(tid),
        }
        false
    }

    /// Lets a forked process go, without our int3s where its memory is its own. While int3s are set,
    /// whether it is must be known.
    fn dismiss(&mut self, child: i32) {
        let shares = self.forked.remove(&child).unwrap_or(self.open);
        if !shares {
            // It may have been killed.
            let _ = self.traps.clean_copy(child);
        }
        let _ = ptrace::detach(child, 0);
    }

    fn gone(&mut self, tid: i32, stop: Stop) {
        self.traps.ledger.forget(tid);
        if let Some(thread) = self.threads.remove(&tid)
            && thread.call.is_some()
        {
            self.done.cut += 1;
        }
        if tid == self.pid {
            let ended = match stop {
                Stop::Exit(code) => Ended::Exit(code),
                Stop::Killed(signal) => Ended::Signal(signal),
                _ => Ended::Gone,
            };
            self.done.process = ended;
            self.ended.get_or_insert(Why::Process(ended));
        }
    }

    /// SIGTRAP: an int3 of ours, one that is gone meanwhile, or the program's own.
    fn trapped(&mut self, tid: i32) {
        let Ok(mut registers) = ptrace::registers(tid) else {
            return;
        };
        let ip = registers.rip.wrapping_sub(1);
        if !self.traps.was(ip) {
            let _ = ptrace::resume(tid, libc::SIGTRAP);
            return;
        }
        registers.rip = ip;
        self.traps.ledger.ahead(tid, &registers, None);
        if ptrace::set_registers(tid, &registers).is_err() {
            return;
        }
        self.traps.ledger.caught_up(tid);
        if !self.traps.is_set(ip) {
            let _ = ptrace::resume(tid, 0);
            return;
        }
        let fits = |away: &Away| away.back == ip && away.sp == registers.rsp;
        if let Some(at) = self.away.iter().position(fits) {
            let mut call = self.away.swap_remove(at).call;
            // The process may be ending.
            let _ = self.traps.clear_return(ip);
            match self.code.function(ip) {
                Some(function) if call.returned(&registers) => call.back_in_caller(function),
                _ => call.follow(&registers, false, &self.traps.memory),
            }
            self.keep(tid, call, registers);
        } else if self.traps.is_entry(ip) && self.open {
            let call = Call::enter(&registers, &self.traps.memory);
            self.keep(tid, call, registers);
        } else {
            // Somebody else's return.
            if self.step(tid, ip).is_some() {
                self.release(tid);
            }
        }
    }

    /// Takes everything out of the program and lets all threads go.
    ///
    /// Stops are taken as they come: a thread that waits for the process it forked stops only after
    /// that one was let go.
    fn let_go(&mut self) {
        self.close_window();
        for child in std::mem::take(&mut self.early) {
            self.dismiss(child);
        }
        let ahead: Vec<i32> = self.threads.keys().copied().collect();
        ahead.into_iter().for_each(|tid| self.catch_up(tid));
        let mut left = BTreeSet::new();
        for (tid, thread) in std::mem::take(&mut self.threads) {
            let signal = thread.signals.front().copied().unwrap_or(0);
            // A call that is stepped stands still.
            if thread.call.is_some() && ptrace::detach(tid, signal).is_ok() {
                continue;
            }
            // One that has ended meanwhile needs no letting go.
            if ptrace::interrupt(tid).is_ok() {
                left.insert(tid);
            }
        }
        loop {
            if left.is_empty() {
                // Threads made since are traced, too: a leader is not ended for its parent before they
                // are. Only one that is ours can be interrupted.
                let threads = crate::record::target::threads(self.pid).unwrap_or_default();
                left.extend(
                    threads
                        .into_iter()
                        .filter(|tid| ptrace::interrupt(*tid).is_ok()),
                );
            }
            // Those that have ended unseen are taken as well.
            let Some((tid, stop)) = ptrace::wait(!left.is_empty()) else {
                return;
            };
            match stop {
                Stop::Exit(_) | Stop::Killed(_) => {
                    self.gone(tid, stop);
                    left.remove(&tid);
                }
                Stop::Asked | Stop::Group if left.contains(&tid) && ptrace::owes_trap(tid) => {
                    // It may have been killed.
                    let _ = ptrace::resume(tid, 0);
                }
                _ if left.remove(&tid) => self.detach(tid, stop),
                // Made since: a thread, or a process.
                _ => self.dismiss(tid),
            }
        }
    }

    /// Detaches a thread as it would have been without us.
    fn detach(&mut self, tid: i32, stop: Stop) {
        let mut signal = 0;
        if let Stop::Signal(arrived) = stop {
            signal = arrived;
            let ours = |registers: &Registers| self.traps.was(registers.rip.wrapping_sub(1));
            if arrived == libc::SIGTRAP
                && let Some(mut registers) = ptrace::registers(tid).ok().filter(ours)
            {
                registers.rip = registers.rip.wrapping_sub(1);
                let _ = ptrace::set_registers(tid, &registers);
                signal = 0;
            }
        }
        // It may have been killed.
        let _ = ptrace::detach(tid, signal);
    }
}

/// The program's file and its build id.
fn executable(pid: i32) -> Option<BuildId> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(BuildId {
        id: features::build_id_of(&path)?,
        path: path.to_string_lossy().into_owned(),
        kernel: false,
    })
}

#[cfg(test)]
mod tests {
    use super::Sampler;

    #[test]
    fn a_sampler_takes_its_share_of_every_access_of_a_loop() {
        let mut sampler = Sampler::new(3);
        let mut taken = [0u32; 6];
        for i in 0..60_000 {
            taken[i % 6] += u32::from(sampler.takes());
        }
        // A third of 10,000, with a deviation of sqrt(10,000 x 2/9) = 47.
        for of_one in taken {
            assert!(
                (3333 - 4 * 47..=3333 + 4 * 47).contains(&of_one),
                "{taken:?}"
            );
        }
        let mut every = Sampler::new(1);
        assert!((0..100).all(|_| every.takes()));
    }
}
