//! The exact interval of a binomial share.

/// The 95 % interval of Clopper and Pearson (1934) of `hits` of `of`: all shares that the counts do
/// not contradict at 2.5 % on either side. It never covers less than it says.
pub fn clopper_pearson(hits: u64, of: u64) -> (f64, f64) {
    const TAIL: f64 = 0.025;
    if of == 0 {
        return (0.0, 1.0);
    }
    let hits = hits.min(of);
    let (x, n) = (hits as f64, of as f64);
    let low = match hits {
        0 => 0.0,
        _ => beta_quantile(TAIL, x, n - x + 1.0),
    };
    let high = match of - hits {
        0 => 1.0,
        _ => beta_quantile(1.0 - TAIL, x + 1.0, n - x),
    };
    (low, high)
}

/// Where the distribution function of Beta(a, b) reaches `share`; by halving, to some 2^-52.
fn beta_quantile(share: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..52 {
        let middle = 0.5 * (low + high);
        if incomplete_beta(middle, a, b) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The regularized incomplete beta function (NIST DLMF 8.17.22), on the side where its continued
/// fraction converges fast.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b) - a.ln();
    front.exp() * fraction(x, a, b)
}

/// The continued fraction, evaluated from the front (Lentz, 1976). It takes some sqrt(max(a, b))
/// steps.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let clear = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / clear(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in 1..20_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / clear(1.0 + term * d);
            c = clear(1.0 + term / c);
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Stirling's series (NIST DLMF 5.11.1), after the recurrence has led the argument beyond 10.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut before) = (x, 0.0);
    while x < 10.0 {
        before += x.ln();
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_published_one() {
        // Newcombe 1998, Statistics in Medicine 17, table I, method 5: 81 of 263, 15 of 148, 0 of 20,
        // 1 of 29.
        let rounded = |hits, of| {
            let (low, high) = clopper_pearson(hits, of);
            ((low * 1e4).round() / 1e4, (high * 1e4).round() / 1e4)
        };
        assert_eq!(rounded(81, 263), (0.2527, 0.3676));
        assert_eq!(rounded(15, 148), (0.0578, 0.1617));
        assert_eq!(rounded(0, 20), (0.0, 0.1684));
        assert_eq!(rounded(1, 29), (0.0009, 0.1776));
        assert_eq!(clopper_pearson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn all_of_them_ends_at_one_and_many_samples_make_it_narrow() {
        // The lower end of n of n solves p^n = 0.025.
        let (low, high) = clopper_pearson(100, 100);
        assert_eq!(high, 1.0);
        assert!((low - 0.025f64.powf(0.01)).abs() < 1e-12, "{low}");
        // Of ten millions the normal approximation holds: 1.96 * sqrt(0.25 / 1e7) = 0.00031.
        let (low, high) = clopper_pearson(5_000_000, 10_000_000);
        assert!(
            (high - low - 2.0 * 0.000_309_9).abs() < 1e-6,
            "{low} {high}"
        );
    }
}
