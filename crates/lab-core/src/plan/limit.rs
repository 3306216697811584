//! What a plan says about limits: demands on one session, without a baseline.

use std::collections::BTreeMap;

use toml::Spanned;

use super::check::{Complaints, check_metric, complaint};
use super::{PlanError, raw};
use crate::limit::Limit;
use crate::metric::{Contract, Metric};

pub(super) fn check_limits(
    limits: BTreeMap<Spanned<String>, Spanned<raw::Limit>>,
    contract: Contract,
    complaints: &mut Complaints,
) -> BTreeMap<String, Limit> {
    let mut checked = BTreeMap::new();
    for (metric, limit) in limits {
        let id = complaints.keep(check_metric(&metric, contract)).map(Metric::id);
        let limit = complaints.keep(check_limit(&limit));
        if let (Some(id), Some(limit)) = (id, limit) {
            checked.insert(id, limit);
        }
    }
    checked
}

fn check_limit(limit: &Spanned<raw::Limit>) -> Result<Limit, PlanError> {
    let raw::Limit { max, below, min, above } = *limit.get_ref();
    let given = [max.map(Limit::Max), below.map(Limit::Below), min.map(Limit::Min), above.map(Limit::Above)];
    let is_finite = [max, below, min, above].into_iter().flatten().all(f64::is_finite);
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(limit), None) if is_finite => Ok(limit),
        _ => Err(complaint(
            limit.span(),
            "a limit is exactly one of `max`, `below`, `min` and `above`, a number in the metric's unit",
            Some("`max` and `min` include their own value, `below` and `above` do not"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;

    const PLAN: &str = r#"
        version = 1
        name = "tiny"
        model = { name = "own", source = { path = "own.gguf" } }
        workload = { prompt = { random = 4 }, generate = 4, seed = 1 }
        [limits]
    "#;

    fn parse(limits: &str) -> Result<BTreeMap<String, Limit>, String> {
        let plan = Plan::parse(&format!("{PLAN}\n{limits}"));
        plan.map(|plan| plan.limits).map_err(|errors| format!("{:?}", errors.0))
    }

    #[test]
    fn limits_are_named_bare_or_in_full() {
        let limits =
            parse("ttft_ms = { below = 100 }\n\"engine.v0.1/tokens_per_sec\" = { min = 20.5 }").unwrap();
        let expected = [
            ("engine.v0.1/tokens_per_sec".to_owned(), Limit::Min(20.5)),
            ("lab.v1/ttft_ms".to_owned(), Limit::Below(100.0)),
        ];
        assert_eq!(limits, BTreeMap::from(expected));
        assert_eq!(parse("").unwrap(), BTreeMap::new());
    }

    #[test]
    fn mistakes_are_told_with_what_is_near() {
        for (limits, expected) in [
            ("ttft_ms = { }", "exactly one"),
            ("ttft_ms = { max = 1, min = 0 }", "exactly one"),
            ("ttft_ms = { below = inf }", "exactly one"),
            ("ttft_ms = { under = 1 }", "unknown field `under`"),
            ("ttft_ns = { max = 1 }", "did you mean `ttft_ms`?"),
            ("per_op_overhead_us = { below = 10 }", "a metric of contract workflow.v1"),
        ] {
            let told = parse(limits).unwrap_err();
            assert!(told.contains(expected), "{limits}: {told}");
        }
    }
}
