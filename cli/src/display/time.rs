//! Moments and spans of time in words.

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Milliseconds since the Unix epoch, as this machine's clock has it.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment in UTC: `2026-11-25 01:20:05`.
pub fn moment(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms / DAY);
    let (hour, minute, second) = (unix_ms % DAY / HOUR, unix_ms % HOUR / MINUTE, unix_ms % MINUTE / SECOND);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The date of a day since 1970-01-01, counted in years that begin in March, so that a leap day comes last.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468; // since 0000-03-01
    let (era, day_of_era) = (day / 146_097, day % 146_097); // an era is 400 years
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day_of_year - (153 * march_month + 2) / 5 + 1)
}

/// How long ago, in the largest unit that fits: `12s`, `5m`, `3h`, `2d`.
pub fn age(since_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(since_ms) {
        span if span < MINUTE => format!("{}s", span / SECOND),
        span if span < HOUR => format!("{}m", span / MINUTE),
        span if span < DAY => format!("{}h", span / HOUR),
        span => format!("{}d", span / DAY),
    }
}

/// A span as a clock shows it: `0:42`, `12:05`, `1:02:03`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_what_the_calendar_says() {
        // From `date --utc --date=@SECONDS '+%F %T'`.
        let known = [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ];
        for (seconds, expected) in known {
            assert_eq!(moment(seconds * 1000 + 999), expected);
        }
    }

    #[test]
    fn spans_are_short() {
        assert_eq!([age(0, 59_999), age(0, 60_000), age(0, 2 * DAY), age(5, 0)], ["59s", "1m", "2d", "0s"]);
        assert_eq!([clock(42.4), clock(725.0), clock(3723.0)], ["0:42", "12:05", "1:02:03"]);
    }
}
