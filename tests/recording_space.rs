//! Which mapping holds an address: forks, execs, mappings over mappings, times out of order.

use mempath::recording::{AddressSpace, Mapping, SpaceBuilder};

fn map(space: &mut SpaceBuilder, pid: i32, start: u64, end: u64, path: &str, time: u64) {
    let image = space.image(path.to_owned(), None);
    space.map(Mapping {
        pid,
        start,
        end,
        pgoff: 0,
        image,
        time,
        executable: true,
        order: 0,
    });
}

fn path(space: &AddressSpace, pid: i32, addr: u64, time: u64) -> Option<&str> {
    let mapping = space.find(pid, addr, time)?;
    Some(&space.image(mapping)?.path)
}

#[test]
fn a_later_mapping_wins_from_its_time_on_and_only_where_it_covers() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x9000, "first", 0);
    map(&mut builder, 1, 0x2000, 0x3000, "second", 50);
    let space = builder.finish();
    assert_eq!(path(&space, 1, 0x2800, 49), Some("first"));
    assert_eq!(path(&space, 1, 0x2800, 50), Some("second"));
    assert_eq!(path(&space, 1, 0x3000, 60), Some("first"));
    assert_eq!(path(&space, 1, 0x8fff, 60), Some("first"));
    assert_eq!(path(&space, 1, 0x9000, 60), None);
    assert_eq!(path(&space, 1, 0xfff, 60), None);
    assert_eq!(path(&space, 2, 0x2800, 60), None);
}

#[test]
fn a_record_written_late_counts_from_its_own_time() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x2000, "at 90", 90);
    map(&mut builder, 1, 0x1000, 0x2000, "at 10", 10);
    let space = builder.finish();
    assert_eq!(path(&space, 1, 0x1000, 9), None);
    assert_eq!(path(&space, 1, 0x1000, 89), Some("at 10"));
    assert_eq!(path(&space, 1, 0x1000, 90), Some("at 90"));
}

#[test]
fn of_two_mappings_of_one_time_the_later_record_wins() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x2000, "first", 0);
    map(&mut builder, 1, 0x1000, 0x2000, "second", 0);
    let space = builder.finish();
    assert_eq!(path(&space, 1, 0x1000, 5), Some("second"));
}

#[test]
fn a_child_has_what_its_parent_had_at_the_fork() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x2000, "before", 10);
    builder.fork(2, Some(1), 20);
    map(&mut builder, 1, 0x5000, 0x6000, "after", 30);
    map(&mut builder, 2, 0x7000, 0x8000, "own", 40);
    builder.fork(3, Some(2), 50);
    let space = builder.finish();
    assert_eq!(path(&space, 2, 0x1000, 25), Some("before"));
    assert_eq!(path(&space, 2, 0x5000, 45), None);
    assert_eq!(path(&space, 2, 0x7000, 45), Some("own"));
    assert_eq!(path(&space, 3, 0x1000, 55), Some("before"));
    assert_eq!(path(&space, 3, 0x7000, 55), Some("own"));
    assert_eq!(path(&space, 1, 0x7000, 55), None);
}

#[test]
fn an_exec_ends_what_was_mapped() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x2000, "shell", 10);
    builder.fork(2, Some(1), 20);
    builder.exec(2, 30);
    map(&mut builder, 2, 0x3000, 0x4000, "program", 30);
    let space = builder.finish();
    assert_eq!(path(&space, 2, 0x1000, 29), Some("shell"));
    assert_eq!(path(&space, 2, 0x1000, 30), None);
    assert_eq!(path(&space, 2, 0x3000, 30), Some("program"));
    assert_eq!(path(&space, 1, 0x1000, 40), Some("shell"));
}

#[test]
fn a_pid_used_again_has_none_of_the_first_ones() {
    let mut builder = SpaceBuilder::default();
    builder.fork(7, Some(1), 10);
    map(&mut builder, 7, 0x1000, 0x2000, "first", 11);
    builder.fork(7, Some(2), 50);
    let space = builder.finish();
    assert_eq!(path(&space, 7, 0x1000, 49), Some("first"));
    assert_eq!(path(&space, 7, 0x1000, 51), None);
}

#[test]
fn forks_in_a_circle_end() {
    let mut builder = SpaceBuilder::default();
    builder.fork(1, Some(2), 10);
    builder.fork(2, Some(1), 10);
    assert_eq!(builder.finish().find(1, 0x1000, 20), None);
}

#[test]
fn the_kernel_is_mapped_in_every_process() {
    let mut builder = SpaceBuilder::default();
    map(
        &mut builder,
        -1,
        0xffff_ffff_8100_0000,
        u64::MAX,
        "[kernel.kallsyms]_text",
        0,
    );
    let space = builder.finish();
    assert_eq!(
        path(&space, 9, 0xffff_ffff_8100_0010, 1),
        Some("[kernel.kallsyms]_text")
    );
}

#[test]
fn a_new_thread_has_its_makers_name() {
    let mut builder = SpaceBuilder::default();
    builder.comm(1, 1, 5, b"go");
    builder.thread(1, 2, 1, 10);
    builder.comm(1, 1, 20, b"gopher\0...");
    let space = builder.finish();
    assert_eq!(space.comm(1, 4), None);
    assert_eq!(space.comm(2, 30).as_deref(), Some("go"));
    assert_eq!(space.comm(1, 30).as_deref(), Some("gopher"));
}

#[test]
fn a_build_id_of_the_header_belongs_to_its_path() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x2000, "/bin/a", 0);
    builder.build_id("/bin/a".to_owned(), vec![1, 2, 3, 4]);
    let space = builder.finish();
    assert_eq!(space.images[0].build_id, Some(vec![1, 2, 3, 4]));
}

#[test]
fn addresses_stay_where_no_later_mapping_fork_or_exec_moves_them() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x9000, "first", 10);
    map(&mut builder, 1, 0x2000, 0x3000, "second", 50);
    map(&mut builder, -1, 0x8000, 0x8800, "kernel", 70);
    builder.exec(2, 40);
    builder.fork(3, Some(1), 5);
    let space = builder.finish();
    let told = [
        (1, 0x1fff, 10, true),
        (1, 0x1fff, 9, false),
        (1, 0x2fff, 49, false),
        (1, 0x2fff, 50, true),
        (1, 0x8000, 69, false),
        (1, 0x8000, 70, true),
        (1, 0x9000, 0, true),
        (2, 0x1fff, 39, false),
        (2, 0x1fff, 40, true),
        (3, 0x1fff, 90, false),
        (4, 0x1fff, 0, true),
    ];
    for (pid, addr, since, expected) in told {
        assert_eq!(
            space.stay(pid, &[0, addr], since),
            expected,
            "{pid} {addr:#x} {since}"
        );
    }
}

#[test]
fn whether_an_address_is_mapped_does_not_depend_on_the_one_before() {
    let mut builder = SpaceBuilder::default();
    map(&mut builder, 1, 0x1000, 0x3000, "first", 10);
    map(&mut builder, 1, 0x5000, 0x6000, "late", 50);
    map(&mut builder, -1, 0x8000, 0x9000, "kernel", 20);
    map(&mut builder, 2, 0x1000, 0x2000, "of another", 0);
    builder.exec(2, 40);
    builder.fork(3, Some(1), 30);
    let space = builder.finish();
    let addrs = [0x1800, 0x2800, 0x5800, 0x8800, 0x9800];
    let times = [5, 15, 25, 35, 45, 55];
    let asked = |pid: i32| times.map(|time| addrs.map(|addr| (pid, addr, time)));
    let of_pids = [1, 2, 3, 4].map(asked);
    let asked: Vec<_> = of_pids.iter().flatten().flatten().collect();
    let mut mapped = space.in_order();
    for (&one, &other) in asked.iter().flat_map(|a| asked.iter().map(move |b| (a, b))) {
        for &(pid, addr, time) in [one, other] {
            let expected = space.find(pid, addr, time).is_some();
            assert_eq!(mapped.is(pid, addr, time), expected, "{one:?} {other:?}");
        }
    }
}
