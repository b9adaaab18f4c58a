//! The text format that every version of Prometheus reads (0.0.4), made from that of OpenMetrics 1.0: a family of counters
//! has the name of its samples there, units stand in names alone, and there is no type "info".

/// The same figures as in `open`, in the older format.
pub(super) fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", "HELP", name, words] => help = Some((name, words)),
            ["#", "TYPE", name, kind] => {
                let (end, shown) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                    text.push_str(&format!("# HELP {name}{end} {words}\n"));
                }
                text.push_str(&format!("# TYPE {name}{end} {shown}\n"));
            }
            ["#", ..] => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_those_of_the_older_format() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1.5\n\
                    # HELP b Which.\n# TYPE b info\nb_info{version=\"1\"} 1\n# HELP c High.\n# TYPE c gauge\nc 3\n# EOF\n";
        let text = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total 1.5\n\
                    # HELP b_info Which.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n# HELP c High.\n# TYPE c gauge\nc 3\n";
        assert_eq!(classic(open), text);
    }
}
