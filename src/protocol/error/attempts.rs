//! What a report says of the attempts that failed.

/// Appends what several attempts failed with: of each its number and what was said of it, in their order. Those in a row that failed alike
/// are told once; `known` is what the report has said already.
pub(super) fn tell<'a>(
    attempts: impl Iterator<Item = (u32, &'a str)>,
    known: &str,
    text: &mut String,
) {
    let attempts: Vec<_> = attempts.collect();
    let runs: Vec<_> = attempts.chunk_by(|one, next| one.1 == next.1).collect();
    match &*runs {
        [] | [[_]] => {}
        [all] if all[0].1 == known => {
            text.push_str(&format!("; each of {} attempts failed so", all.len()));
        }
        [all] => text.push_str(&format!("; {} attempts, each: {}", all.len(), all[0].1)),
        _ => {
            let runs = runs.iter().map(|run| match run {
                [(attempt, message)] => format!("{attempt}: {message}"),
                run => {
                    let (first, last) = (run[0].0, run[run.len() - 1].0);
                    format!("{first} to {last}, each: {}", run[0].1)
                }
            });
            let runs: Vec<_> = runs.collect();
            text.push_str(&format!("; attempts: {}", runs.join("; ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_alike_is_told_once() {
        for (messages, told) in [
            (&["a"][..], ""),
            (&["a", "a", "a"], "; each of 3 attempts failed so"),
            (&["b", "b"], "; 2 attempts, each: b"),
            (&["b", "a"], "; attempts: 1: b; 2: a"),
            (
                &["b", "b", "b", "c", "a", "a"],
                "; attempts: 1 to 3, each: b; 4: c; 5 to 6, each: a",
            ),
        ] {
            let mut text = String::new();
            tell((1..).zip(messages.iter().copied()), "a", &mut text);
            assert_eq!(text, told);
        }
    }
}
