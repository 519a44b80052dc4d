//! The page as a whole, from tables that are made up.

#[path = "browser/synthetic.rs"]
mod synthetic;

#[test]
fn write_sample() {
    let t = synthetic::tables(20_000);
    let s = std::time::Instant::now();
    let page = mempath::report::render(&t).unwrap();
    eprintln!("{} bytes {:?}", page.len(), s.elapsed());
    std::fs::write("/tmp/report.html", page).unwrap();
}
