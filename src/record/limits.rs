//! What the kernel allows this user, as plain data: what [`doctor`](super::doctor) judges.

use super::counter::{fit, paranoid};
use super::event::Event;
use super::sysfs::read;
use super::target::capable;
use std::path::Path;

/// Settings of the kernel, and capabilities of this process.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Bit `n`: capability `n` is in force.
    pub capabilities: u64,
    /// `kernel.perf_event_paranoid`; `None` where there are no perf events.
    pub paranoid: Option<i32>,
    /// An event of the user's own process can be opened. Levels above 2 are those of Debian's and Ubuntu's
    /// kernels; others take them for 2.
    pub opens: bool,
    /// `kernel.yama.ptrace_scope`; `None` where the kernel has no such limit.
    pub ptrace_scope: Option<u32>,
    /// `kernel.perf_event_mlock_kb`, in KiB.
    pub mlock_kib: u64,
    pub kptr_restrict: String,
    /// `/proc/kallsyms` shows no addresses.
    pub kernel_hidden: bool,
    /// `tsc`, `hpet`.
    pub clock: String,
    /// `kernel.nmi_watchdog` is on.
    pub watchdog: bool,
}

impl Limits {
    /// Looks around. What cannot be read stays empty.
    pub fn here() -> Limits {
        let text = |path: &str| read(Path::new(path));
        let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let mut shown = symbols
            .lines()
            .map(|line| !line.starts_with("0000000000000000 "));
        let mlock = text("/proc/sys/kernel/perf_event_mlock_kb");
        let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        Limits {
            capabilities: (0..64)
                .filter(|cap| capable(*cap))
                .fold(0, |all, cap| all | 1 << cap),
            paranoid: paranoid(),
            opens: fit(&mut Event::plain(), None).is_ok(),
            ptrace_scope: text("/proc/sys/kernel/yama/ptrace_scope").and_then(|t| t.parse().ok()),
            mlock_kib: mlock.and_then(|text| text.parse().ok()).unwrap_or(0),
            kptr_restrict: text("/proc/sys/kernel/kptr_restrict").unwrap_or_default(),
            kernel_hidden: !shown.any(|shown| shown),
            clock: text(clock).unwrap_or_default(),
            watchdog: text("/proc/sys/kernel/nmi_watchdog").as_deref() == Some("1"),
        }
    }

    pub fn capable(&self, capability: u32) -> bool {
        self.capabilities
            .checked_shr(capability)
            .is_some_and(|mask| mask & 1 != 0)
    }
}
