//! One decoded instruction of either architecture: where control goes, how the address of its
//! operand is made, and how it reads.

use super::arm64::Arm64;
use super::state::{ARM64, Abi, X86_64};
use super::x86::number_of;
use crate::program::Arch;
use iced_x86::{
    ConditionCode, Decoder, DecoderOptions, FlowControl, Formatter, InstructionInfoFactory,
    IntelFormatter, MemorySize, Mnemonic, OpAccess, OpKind, Register,
};

#[derive(Debug, Clone, Copy)]
pub enum Instruction {
    X86(iced_x86::Instruction),
    Arm64(Arm64),
}

/// Where control goes after an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Next,
    /// `None`: through a register.
    Call(Option<u64>),
    Jump(Option<u64>),
    Branch {
        target: Option<u64>,
        /// Taken when what was compared is 0 (`Some(true)`), or when it is not.
        zero: Option<bool>,
        /// The register that the branch itself compares with 0.
        tested: Option<usize>,
    },
    Return,
    /// A trap, or no instruction.
    Stop,
}

/// How the address of a memory operand is made, in perf's register numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub base: Option<u32>,
    pub index: Option<u32>,
    /// What the index is multiplied with.
    pub scale: u64,
    pub displacement: u64,
    /// Bit per register that the instruction writes: afterwards it is not what the address was made
    /// from.
    pub written: u64,
}

impl Form {
    /// Whether register `reg` still holds what the address was made from.
    pub fn keeps(&self, reg: u32) -> bool {
        self.written >> reg & 1 == 0
    }
}

impl Instruction {
    /// Decodes code that begins at `start`.
    pub fn decode(arch: Arch, bytes: &[u8], start: u64) -> Vec<Instruction> {
        if arch == Arch::Aarch64 {
            return Arm64::decode(bytes, start)
                .map(Instruction::Arm64)
                .collect();
        }
        let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
        let mut instructions = Vec::new();
        while decoder.can_decode() {
            instructions.push(Instruction::X86(decoder.decode()));
        }
        instructions
    }

    pub fn ip(&self) -> u64 {
        match self {
            Instruction::X86(x) => x.ip(),
            Instruction::Arm64(a) => a.ip,
        }
    }

    pub fn next_ip(&self) -> u64 {
        match self {
            Instruction::X86(x) => x.next_ip(),
            Instruction::Arm64(a) => a.ip.wrapping_add(4),
        }
    }

    /// The registers that it names.
    pub fn abi(&self) -> &'static Abi {
        match self {
            Instruction::X86(_) => &X86_64,
            Instruction::Arm64(_) => &ARM64,
        }
    }

    pub fn control(&self) -> Control {
        match self {
            Instruction::X86(x) => x86_control(x),
            Instruction::Arm64(a) => a.control(),
        }
    }

    /// As an assembler would have it.
    pub fn text(&self) -> String {
        match self {
            Instruction::X86(x) => {
                let mut text = String::new();
                IntelFormatter::new().format(x, &mut text);
                text
            }
            Instruction::Arm64(a) => a.text(),
        }
    }

    /// Where the code says it may go on, besides the next instruction.
    pub fn target(&self) -> Option<u64> {
        match self.control() {
            Control::Call(target) | Control::Jump(target) | Control::Branch { target, .. } => {
                target
            }
            Control::Next | Control::Return | Control::Stop => None,
        }
    }

    /// `None` where there is no memory operand, or its address is made in another way.
    pub fn form(&self) -> Option<Form> {
        match self {
            Instruction::X86(x) => x86_form(x),
            Instruction::Arm64(a) => a.form(),
        }
    }

    /// perf's number of the register that a plain load fills or a plain store writes, and the bytes
    /// moved.
    pub fn moved(&self) -> Option<(u32, u32)> {
        match self {
            Instruction::X86(x) => x86_moved(x),
            Instruction::Arm64(a) => a.moved(),
        }
    }
}

fn x86_control(x: &iced_x86::Instruction) -> Control {
    let near = matches!(x.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32);
    let target = near.then(|| x.near_branch_target());
    match x.flow_control() {
        FlowControl::Next => Control::Next,
        FlowControl::Call | FlowControl::IndirectCall => Control::Call(target),
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => Control::Jump(target),
        FlowControl::ConditionalBranch => Control::Branch {
            target,
            // A length is never negative.
            zero: match x.condition_code() {
                ConditionCode::e | ConditionCode::le => Some(true),
                ConditionCode::ne | ConditionCode::g => Some(false),
                _ => None,
            },
            tested: None,
        },
        FlowControl::Return => Control::Return,
        _ => Control::Stop,
    }
}

fn x86_form(x: &iced_x86::Instruction) -> Option<Form> {
    if x.memory_size() == MemorySize::Unknown {
        return None;
    }
    let perf = |register: Register| match register {
        Register::None | Register::RIP | Register::EIP => Some(None),
        _ => Some(Some(*X86_64.perf.get(number_of(register)?)?)),
    };
    let mut factory = InstructionInfoFactory::new();
    let written = factory
        .info(x)
        .used_registers()
        .iter()
        .filter(|used| {
            matches!(
                used.access(),
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            )
        })
        .filter_map(|used| X86_64.perf.get(number_of(used.register())?))
        .fold(0, |bits, reg| bits | 1 << reg);
    Some(Form {
        base: perf(x.memory_base())?,
        index: perf(x.memory_index())?,
        scale: u64::from(x.memory_index_scale()),
        displacement: x.memory_displacement64(),
        written,
    })
}

fn x86_moved(x: &iced_x86::Instruction) -> Option<(u32, u32)> {
    let register = match (x.mnemonic(), x.op0_kind(), x.op1_kind()) {
        (Mnemonic::Mov | Mnemonic::Movzx, OpKind::Register, OpKind::Memory) => x.op0_register(),
        (Mnemonic::Mov, OpKind::Memory, OpKind::Register) => x.op1_register(),
        _ => return None,
    };
    let high_byte = matches!(
        register,
        Register::AH | Register::BH | Register::CH | Register::DH
    );
    let number = number_of(register).filter(|_| !high_byte)?;
    Some((*X86_64.perf.get(number)?, x.memory_size().size() as u32))
}
