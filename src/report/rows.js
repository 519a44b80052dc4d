"use strict";
// The raw accesses of the page as columns: unpacked, selected and counted. Knows nothing of the
// document, so that its tests run without one.
const Rows = (() => {
  const COUNTS = ["samples", "loads", "stores", "l1_hit", "lfb", "l1_miss", "llc_miss", "hitm", "level_unknown"];

  // One line of JSON, then the columns plane by plane (src/report/kept.rs).
  function unpack(bytes) {
    const end = bytes.indexOf(10);
    const rows = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    const n = rows.rows;
    const columns = {};
    let at = end + 1;
    for (const [name, width] of rows.columns) {
      const values = new Uint32Array(n);
      for (let plane = 0; plane < width; plane++, at += n) {
        for (let i = 0; i < n; i++) values[i] |= bytes[at + i] << (8 * plane);
      }
      columns[name] = values;
    }
    rows.column = columns;
    rows.whole = rows.kinds.every(([, , [samples]]) => samples === 1);
    return rows;
  }

  function range(text) {
    const match = /^(\d+)-(\d+)$/.exec(text ?? "");
    return match && Number(match[1]) <= Number(match[2]) ? [Number(match[1]), Number(match[2])] : null;
  }

  // Numbers of the rows that a selection leaves: { map, part, level, op, cpu, tid, time, index, array }.
  function pick(rows, selection) {
    const tests = [];
    const among = (column, wanted) => {
      if (wanted.length === 1) {
        const [only] = wanted;
        tests.push((i) => column[i] === only);
        return;
      }
      const allowed = new Set(wanted);
      tests.push((i) => allowed.has(column[i]));
    };
    const ids = (list, fits) => list.flatMap((item, i) => (fits(item) ? [i + 1] : []));
    const { column } = rows;
    const is = (key) => selection[key] !== undefined && selection[key] !== "";
    if (is("map")) among(column.map, [Number(selection.map) + 1]);
    if (is("part")) among(column.part, ids(rows.parts, ([part]) => part === selection.part));
    if (is("level") || is("op")) {
      const fits = ([op, level]) => (!is("level") || level === selection.level) && (!is("op") || op === selection.op);
      among(column.kind, ids(rows.kinds, fits));
    }
    if (is("cpu")) among(column.cpu, [Number(selection.cpu) + 1]);
    if (is("tid")) among(column.tid, ids(rows.tids, (tid) => String(tid) === selection.tid));
    const time = range(selection.time);
    if (time) {
      const [first, last] = time.map((ns) => Math.floor(ns / rows.time_unit_ns) + 1);
      tests.push((i) => column.time[i] >= first && column.time[i] <= last);
    }
    const index = range(selection.index);
    if (index && selection.array !== undefined) {
      among(column.array, [Number(selection.array) + 1]);
      tests.push((i) => column.index[i] > index[0] && column.index[i] <= index[1] + 1);
    }
    const picked = new Uint32Array(rows.rows);
    let n = 0;
    next: for (let i = 0; i < rows.rows; i++) {
      for (const test of tests) if (!test(i)) continue next;
      picked[n++] = i;
    }
    return picked.subarray(0, n);
  }

  function zero() {
    return { samples: 0, loads: 0, stores: 0, l1_hit: null, lfb: null, l1_miss: null, llc_miss: null, hitm: null, level_unknown: 0, latency_sum: null, latency_n: 0, latencies: [] };
  }

  // What each kind of access counts, null as 0, and a bit for each count that it tells.
  function table(rows) {
    const values = new Float64Array(rows.kinds.length * COUNTS.length);
    const told = rows.kinds.map(([, , counts], kind) => {
      let bits = 0;
      counts.forEach((n, k) => {
        values[kind * COUNTS.length + k] = n ?? 0;
        if (n !== null) bits |= 1 << k;
      });
      return bits;
    });
    return { values, told };
  }

  // Sums by what `key` makes of a row's number; undefined leaves the row out.
  function sums(rows, picked, key) {
    rows.table ??= table(rows);
    const { values, told } = rows.table;
    const { kind, latency } = rows.column;
    const groups = new Map();
    for (let p = 0; p < picked.length; p++) {
      const i = picked[p];
      const k = key(i);
      if (k === undefined) continue;
      let group = groups.get(k);
      if (group === undefined) groups.set(k, (group = { counts: new Float64Array(COUNTS.length), told: 0, sum: 0, n: 0, latencies: [] }));
      const of = kind[i] - 1;
      const at = of * COUNTS.length;
      group.told |= told[of];
      for (let c = 0; c < COUNTS.length; c++) group.counts[c] += values[at + c];
      if (latency[i] > 0) {
        const samples = values[at];
        group.sum += samples * (latency[i] - 1);
        group.n += samples;
        group.latencies.push((latency[i] - 1) * 2 ** 20 + Math.min(samples, 2 ** 20 - 1));
      }
    }
    for (const [k, { counts, told, sum, n, latencies }] of groups) {
      const whole = zero();
      COUNTS.forEach((name, c) => {
        if (told & (1 << c)) whole[name] = counts[c];
      });
      if (n) [whole.latency_sum, whole.latency_n] = [sum, n];
      whole.latencies = latencies;
      groups.set(k, whole);
    }
    return groups;
  }

  // Nearest rank, each latency as often as its row stands for.
  function quantile(sum, share) {
    if (!sum.latency_n) return null;
    if (!sum.sorted) sum.sorted = Float64Array.from(sum.latencies).sort();
    const rank = Math.ceil(share * sum.latency_n);
    let seen = 0;
    for (const packed of sum.sorted) {
      seen += packed % 2 ** 20;
      if (seen >= rank) return Math.floor(packed / 2 ** 20);
    }
    return null;
  }

  // The same measures as the tables: null is unknown or not applicable.
  function measure(sum, name) {
    if (name === "mean latency") return sum.latency_n ? Math.floor(sum.latency_sum / sum.latency_n) : null;
    if (name === "p50") return quantile(sum, 0.5);
    if (name === "p95" || name === "p95 latency") return quantile(sum, 0.95);
    const column = { "L1 miss": "l1_miss", "LLC miss": "llc_miss", HITM: "hitm", latency: "latency_sum", accesses: "samples" }[name] ?? name;
    const untold = (name === "loads" || name === "stores") && sum.samples && !(sum.loads + sum.stores);
    return untold ? null : sum[column];
  }

  return { unpack, pick, sums, zero, quantile, measure, range };
})();
if (typeof module !== "undefined") module.exports = Rows;
