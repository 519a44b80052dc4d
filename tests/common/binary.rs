//! A binary with the data flow of its functions.

use mempath::attribute::flow::{FunctionFlow, analyse};
use mempath::gomap::{Layout, layout_for};
use mempath::program::Program;
use std::path::Path;
use std::sync::Arc;

pub struct Binary {
    pub program: Arc<Program>,
    pub layout: &'static Layout,
}

impl Binary {
    pub fn open(path: &Path) -> Binary {
        let program = Arc::new(Program::open(path).unwrap());
        let layout = layout_for(program.go.as_ref().unwrap()).unwrap();
        Binary { program, layout }
    }

    /// A binary of `samples/`.
    pub fn sample(file: &str) -> Binary {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        Binary::open(&root.join(file))
    }

    pub fn flow(&self, function: &str) -> FunctionFlow {
        let mut all = self.program.functions().iter();
        let start = all.find(|f| f.name == function).unwrap().start;
        analyse(&self.program, self.layout, start)
    }
}
