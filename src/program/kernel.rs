//! Kernel symbols from a copy of `/proc/kallsyms`. Whose kernel it is, is the caller's to know.

use super::ProgramError;
use std::path::Path;

/// What a kernel address without a symbol is called.
pub const KERNEL: &str = "[kernel]";

/// Kernel functions by address.
#[derive(Debug, Default)]
pub struct Kernel {
    /// Address and name, `name [module]` for a module's; by address.
    symbols: Vec<(u64, String)>,
}

impl Kernel {
    /// Reads `address type name [module]` lines. Empty when the addresses are all 0, as
    /// `kernel.kptr_restrict` shows them to other users than root.
    pub fn read(path: &Path) -> Result<Kernel, ProgramError> {
        let text = std::fs::read(path).map_err(|error| ProgramError::Io {
            path: path.to_owned(),
            error,
        })?;
        Ok(Kernel::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Kernel {
        let mut symbols: Vec<(u64, String)> = (text.lines())
            .filter_map(|line| {
                let mut fields = line.split_ascii_whitespace();
                let addr = u64::from_str_radix(fields.next()?, 16).ok()?;
                let kind = fields.next()?;
                let name = fields.next()?;
                let code = matches!(kind, "t" | "T" | "w" | "W") && addr != 0;
                let module = fields.next().map(|module| format!(" {module}"));
                code.then(|| (addr, format!("{name}{}", module.unwrap_or_default())))
            })
            .collect();
        // Of several names at one address the first in the file is kept, as perf does.
        symbols.sort_by_key(|symbol| symbol.0);
        symbols.dedup_by_key(|symbol| symbol.0);
        Kernel { symbols }
    }

    /// The function at a kernel address, else [`KERNEL`].
    pub fn function_at(&self, addr: u64) -> &str {
        let after = self.symbols.partition_point(|symbol| symbol.0 <= addr);
        (after.checked_sub(1))
            .and_then(|i| self.symbols.get(i))
            .map_or(KERNEL, |symbol| &symbol.1)
    }
}

#[cfg(test)]
mod tests {
    use super::Kernel;

    #[test]
    fn a_kernel_address_has_the_function_before_it() {
        let kernel = Kernel::parse(
            "ffffffff81000000 T _stext\nffffffff81000000 t startup_64\nffffffff81000040 d table\n\
             ffffffff81000080 t clear_page_erms\nffffffffc0200000 t do_it\t[nf_tables]\n",
        );
        let name = |addr| kernel.function_at(addr);
        assert_eq!(name(0xffff_ffff_8100_0050), "_stext");
        assert_eq!(name(0xffff_ffff_8100_0080), "clear_page_erms");
        assert_eq!(name(0xffff_ffff_c020_0004), "do_it [nf_tables]");
        assert_eq!(name(0xffff_ffff_80ff_ffff), "[kernel]");
    }

    #[test]
    fn restricted_addresses_name_nothing() {
        let kernel = Kernel::parse("0000000000000000 T _stext\n");
        assert_eq!(kernel.function_at(0xffff_ffff_8100_0050), "[kernel]");
    }
}
