//! Numbers for people: four significant digits, thousands set apart, never a false precision.

/// Returns a number with four significant digits: `61.23`, `10.00`, `0.01234`, `12,346`, `1.234e-7`.
///
/// Digits in front of the decimal point are never rounded away; numbers below a ten-thousandth are written with an
/// exponent.
pub fn format_quantity(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let exponent = decimal_exponent(value);
    if !(-4..15).contains(&exponent) {
        return format!("{value:.3e}");
    }
    let decimals = usize::try_from(3 - exponent).unwrap_or(0);
    group_thousands(&format!("{value:.decimals$}"))
}

/// Units that count.
const COUNTED: [&str; 4] = ["faults", "inferences", "switches", "tokens"];

/// Returns a value of a metric: whole counts without decimals, everything else as [`format_quantity`] does.
pub fn format_value(value: f64, unit: &str) -> String {
    let is_count = COUNTED.contains(&unit) && value.fract() == 0.0 && value.abs() < 1e15;
    if is_count { group_thousands(&format!("{value:.0}")) } else { format_quantity(value) }
}

/// Returns a share as a percentage: `0.4 %`, `12.3 %`; below a tenth of a percent with two decimals.
pub fn format_share(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent.abs() < 0.095 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// Returns the power of ten of a number rounded to four significant digits: 0 for 9.9994, 1 for 9.9996.
fn decimal_exponent(value: f64) -> i32 {
    let scientific = format!("{value:.3e}");
    let (_, exponent) = scientific.split_once('e').expect("the format writes an exponent");
    exponent.parse().expect("the exponent is an integer")
}

fn group_thousands(text: &str) -> String {
    let (whole, decimals) = text.find('.').map_or((text, ""), |point| text.split_at(point));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + decimals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_significant_digits_are_kept_and_no_whole_digit_is_lost() {
        for (value, expected) in [
            (0.0, "0"),
            (256.0, "256.0"),
            (10.0, "10.00"),
            (61.234_56, "61.23"),
            (9.999_4, "9.999"),
            (9.999_96, "10.00"),
            (0.012_345_6, "0.01235"),
            (0.000_123_46, "0.0001235"),
            (0.000_012_345, "1.234e-5"),
            (999.96, "1,000"),
            (1234.56, "1,235"),
            (12_345_678.9, "12,345,679"),
            (-4321.5, "-4,322"),
            (1e15, "1.000e15"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_quantity(value), expected, "{value}");
        }
    }

    #[test]
    fn counts_have_no_decimals_and_means_of_counts_may() {
        assert_eq!(format_value(12_345.0, "tokens"), "12,345");
        assert_eq!(format_value(255.5, "tokens"), "255.5");
        assert_eq!(format_value(256.0, "ms"), "256.0");
    }

    #[test]
    fn shares_are_percentages() {
        for (share, expected) in
            [(0.0, "0.0 %"), (0.004, "0.4 %"), (0.000_4, "0.04 %"), (0.123_4, "12.3 %"), (1.5, "150.0 %")]
        {
            assert_eq!(format_share(share), expected);
        }
    }
}
