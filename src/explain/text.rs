//! An explanation as text: one section a step.

use super::{Explanation, Known, Operand, Register};
use crate::terminal::printable;
use std::io::{self, Write};

/// Prints the whole of it.
pub fn print(e: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Sample {}", e.n)?;
    sample(e, out)?;
    instruction(e, out)?;
    section(out, "Memory operands, as the data flow sees them")?;
    if e.operands.is_empty() {
        line(out, "", "none outside of the function's own frame")?;
    }
    for operand in &e.operands {
        line(
            out,
            if operand.sampled { "sampled" } else { "other" },
            &operand_text(operand),
        )?;
    }
    if let Some(said) = &e.declared {
        let text = format!("{} in {}: {}", said.dwarf, said.register, said.verdict);
        let why = said
            .explanation
            .map_or_else(String::new, |why| format!(": {why}"));
        line(out, "DWARF", &format!("{text} ({}){why}", said.flow))?;
    }
    registers(e, out)?;
    section(out, "Call site")?;
    match &e.call_site {
        None => line(out, "", "none: see the rung below")?,
        Some(site) => {
            line(out, "returns to", &site.ret)?;
            line(
                out,
                "map type",
                site.map_type.as_deref().unwrap_or("not a constant there"),
            )?;
            line(
                out,
                "variable",
                site.global.as_deref().unwrap_or("no global"),
            )?;
        }
    }
    section(out, "Layout arithmetic")?;
    if e.arithmetic.is_empty() {
        line(out, "", "none: no object is known")?;
    }
    for step in &e.arithmetic {
        line(out, "", step)?;
    }
    section(out, "Evidence, weakest first")?;
    for rung in &e.rungs {
        let why = format!("{:<9}  {}", rung.verdict.name(), rung.why);
        line(out, rung.evidence, &why)?;
    }
    section(out, "What was known after each step")?;
    for step in &e.steps {
        line(out, step.after, &known_text(step))?;
    }
    section(out, "Row, as export prints it")?;
    for row in &e.row {
        line(out, "", row)?;
    }
    if let Some(reason) = &e.reason {
        section(out, "Why it has no part")?;
        line(out, "reason", reason.name)?;
        line(out, "meaning", reason.meaning.trim())?;
        line(out, "what would help", reason.help)?;
    }
    Ok(())
}

fn section(out: &mut dyn Write, title: &str) -> io::Result<()> {
    writeln!(out, "\n{title}")
}

fn line(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    match name {
        "" => writeln!(out, "  {}", printable(value)),
        name => writeln!(out, "  {name:<19}  {}", printable(value)),
    }
}

fn sample(e: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    let s = &e.sample;
    let number = |n: Option<u64>| n.map_or_else(|| "not recorded".to_owned(), |n| n.to_string());
    let signed = |n: Option<i32>| n.map_or_else(|| "not recorded".to_owned(), |n| n.to_string());
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "not recorded".to_owned());
    line(out, "event", &format!("{} ({})", s.event, s.pmu))?;
    line(out, "time", &format!("{} ns", number(s.time_ns)))?;
    let thread = format!("pid {}, tid {}", signed(s.pid), signed(s.tid));
    line(
        out,
        "thread",
        &format!("{thread}, cpu {}", number(s.cpu.map(u64::from))),
    )?;
    line(out, "ip", &or(&s.ip))?;
    line(out, "addr", &or(&s.addr))?;
    if let Some(watched) = &s.watched {
        line(out, "watched", watched)?;
    }
    let latency = match s.latency_cycles {
        Some(cycles) => format!("{cycles} cycles: {}", s.latency_rule),
        None => format!("no latency: {}", s.latency_rule),
    };
    line(out, "weight", &format!("{}, {latency}", or(&s.weight)))?;
    let words = s.data_src_words.as_deref().unwrap_or("");
    line(
        out,
        "data_src",
        format!("{} {words}", or(&s.data_src)).trim_end(),
    )?;
    let told = |what: Option<&str>| what.unwrap_or("not told").to_owned();
    line(
        out,
        "which means",
        &format!(
            "op {}, level {}, snoop {}, tlb {}",
            told(s.op),
            told(s.level.as_deref()),
            told(s.snoop),
            told(s.tlb)
        ),
    )
}

fn instruction(e: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    let i = &e.instruction;
    section(out, "Instruction")?;
    line(out, "image", &i.image)?;
    line(out, "vaddr", i.vaddr.as_deref().unwrap_or("not looked at"))?;
    line(out, "function", i.function.as_deref().unwrap_or("unknown"))?;
    for (n, frame) in i.frames.iter().enumerate() {
        line(out, if n == 0 { "line" } else { "inlined into" }, frame)?;
    }
    line(out, "text", i.text.as_deref().unwrap_or("not decoded"))?;
    let of = |word: Option<&'static str>| word.unwrap_or("none").to_owned();
    line(
        out,
        "operation, phase",
        &format!("{}, {}", of(i.operation), of(i.phase)),
    )
}

fn operand_text(o: &Operand) -> String {
    let part = match (o.part, o.reason) {
        (Some(part), _) => part.to_owned(),
        (None, Some(reason)) => format!("no part: {reason}"),
        (None, None) => "which part, the address tells".to_owned(),
    };
    format!(
        "{} of {} bytes at {} + {}: {part}",
        o.access, o.size, o.object, o.offset
    )
}

fn registers(e: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    section(out, "Registers")?;
    line(out, "", e.registers.why)?;
    for register in &e.registers.used {
        line(out, &register.name, &register_text(register))?;
    }
    Ok(())
}

fn register_text(r: &Register) -> String {
    let mut text = r.value.clone().unwrap_or_else(|| "not recorded".to_owned());
    if let Some(holds) = &r.holds {
        text.push_str(&format!(" = {holds}"));
    }
    if let Some(start) = r
        .start
        .as_ref()
        .filter(|start| Some(*start) != r.value.as_ref())
    {
        text.push_str(&format!(", which starts at {start}"));
    }
    if r.overwritten {
        text.push_str(" (written by the instruction)");
    }
    text
}

fn known_text(k: &Known) -> String {
    let mut facts = vec![k.part.unwrap_or("no part").to_owned()];
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.push(format!("{name} {value}"));
        }
    };
    fact("in", k.base.clone());
    fact("slot", k.slot.map(|slot| slot.to_string()));
    fact("table", k.table.clone());
    fact("map", k.header.clone());
    fact("held by the variable at", k.held_by.clone());
    fact("of type", k.map_type.clone());
    format!("{} [{}]", facts.join(", "), k.evidence)
}
