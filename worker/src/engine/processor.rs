//! How much processor time a process has used.

/// The processor time of a process and all its threads, in the kernel's ticks; none if there is no such process.
pub fn time_used(process: u32) -> Option<u64> {
    parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Fields 14 and 15 of `/proc/PID/stat` (see `man 5 proc`). The name, field 2, is in parentheses and may hold any
/// character.
fn parse(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut times = after_name.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(times.next()? + times.next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_name() {
        let stat = "7 (tutti) engine) R 1 7 7 0 -1 4194304 1 0 0 0 120 34 0 0 20 0 9 0 100 1 1";
        assert_eq!(parse(stat), Some(154));
        assert_eq!(parse("7 (x) R 1"), None);
        assert_eq!(parse(""), None);
        assert!(time_used(std::process::id()).is_some());
    }
}
