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
    return { samples: 0, loads: 0, stores: 0, l1_hit: null, lfb: null, l1_miss: null, llc_miss: null, hitm: null, level_unknown: 0, latency_sum: null, latency_n: 0, accesses: 0, rows: 0, last: -1, chain: null };
  }

  // Sums by what `key` makes of a row's number; undefined leaves the row out. The rows of a group that
  // have a latency are chained, from the last to the first, for its quantiles.
  function sums(rows, picked, key) {
    const { kind, latency } = rows.column;
    const next = new Int32Array(picked.length);
    const groups = new Map();
    const samples = rows.kinds.map(([, , [n]]) => n);
    for (let p = 0; p < picked.length; p++) {
      const i = picked[p];
      const k = key(i);
      if (k === undefined) continue;
      let group = groups.get(k);
      if (group === undefined) groups.set(k, (group = { kinds: new Uint32Array(rows.kinds.length), sum: 0, n: 0, accesses: 0, rows: 0, last: -1 }));
      const of = kind[i] - 1;
      group.accesses++;
      group.kinds[of]++;
      if (latency[i] > 0) {
        group.sum += samples[of] * (latency[i] - 1);
        group.n += samples[of];
        group.rows++;
        next[p] = group.last;
        group.last = p;
      }
    }
    const chain = { rows, picked, next, samples };
    for (const [k, { kinds, sum, n, accesses, rows: of, last }] of groups) {
      const whole = { ...zero(), accesses, rows: of, last, chain };
      kinds.forEach((times, each) => {
        if (times) COUNTS.forEach((name, c) => add(whole, name, rows.kinds[each][2][c], times));
      });
      if (n) [whole.latency_sum, whole.latency_n] = [sum, n];
      groups.set(k, whole);
    }
    return groups;
  }

  // A count that one kind of access tells is known.
  function add(whole, name, n, times) {
    if (n !== null) whole[name] += n * times;
  }

  // Nearest rank, each latency as often as its row stands for.
  function quantile(sum, share) {
    if (!sum.latency_n) return null;
    // Of all samples the tables know both that are shown.
    if (sum.quantiles) return sum.quantiles[share === 0.5 ? 0 : 1];
    sum.sorted ??= sorted(sum);
    const rank = Math.ceil(share * sum.latency_n);
    let seen = 0;
    for (const packed of sum.sorted) {
      seen += packed % 2 ** 20;
      if (seen >= rank) return Math.floor(packed / 2 ** 20);
    }
    return null;
  }

  // A latency and how often, in one number.
  function sorted({ rows: n, last, chain: { rows, picked, next, samples } }) {
    const { kind, latency } = rows.column;
    const all = new Float64Array(n);
    for (let at = 0, p = last; p >= 0; p = next[p]) {
      const i = picked[p];
      all[at++] = (latency[i] - 1) * 2 ** 20 + Math.min(samples[kind[i] - 1], 2 ** 20 - 1);
    }
    return all.sort();
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

  // The exact 95 % interval of a share (Clopper and Pearson), as src/tables/interval.rs.
  function clopperPearson(hits, of) {
    if (!of) return [0, 1];
    const low = hits === 0 ? 0 : root((p) => binomialTail(hits, of, p) - 0.025);
    const high = hits === of ? 1 : root((p) => binomialTail(hits + 1, of, p) - 0.975);
    return [low, high];
  }

  // Where a function that rises from below zero crosses it.
  function root(rising) {
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (rising(middle) < 0) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  // The chance of at least k hits in n: the regularized incomplete beta function of p at (k, n - k + 1),
  // by Lentz's continued fraction.
  function binomialTail(k, n, p) {
    if (k <= 0) return 1;
    if (k > n || p <= 0) return 0;
    if (p >= 1) return 1;
    const [a, b] = [k, n - k + 1];
    if (p > (a + 1) / (a + b + 2)) return 1 - fraction(b, a, 1 - p);
    return fraction(a, b, p);
  }

  function fraction(a, b, x) {
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
    const small = 1e-300;
    const safe = (value) => (Math.abs(value) < small ? small : value);
    let c = 1;
    let d = 1 / safe(1 - ((a + b) * x) / (a + 1));
    let value = d;
    for (let m = 1; m < 10_000; m++) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      d = 1 / safe(1 + even * d);
      c = safe(1 + even / c);
      value *= d * c;
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / safe(1 + odd * d);
      c = safe(1 + odd / c);
      value *= d * c;
      if (Math.abs(d * c - 1) < 1e-14) break;
    }
    return front * value;
  }

  // Lanczos, g = 7, nine terms.
  function logGamma(x) {
    const terms = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
    const t = x + 6.5;
    const sum = terms.reduce((sum, term, i) => (i ? sum + term / (x - 1 + i) : term), 0);
    return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
  }

  return { unpack, pick, sums, zero, quantile, measure, range, clopperPearson };
})();
if (typeof module !== "undefined") module.exports = Rows;
