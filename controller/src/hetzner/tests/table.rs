use std::time::Duration;

use super::super::{Code, CoolDowns, Disposition, Operation, Pace, table::disposition};
use cattle_schemas::Timestamp;

#[test]
fn a_create_that_may_have_happened_is_never_simply_repeated() {
    for code in [
        Code::ServerError,
        Code::BadGateway,
        Code::Unavailable,
        Code::Timeout,
        Code::UnknownError,
        Code::ServiceError,
    ] {
        assert_eq!(
            disposition(Operation::CreateServer, 500, code, ""),
            Disposition::LookUp,
            "{code:?}"
        );
        assert!(
            matches!(
                disposition(Operation::DeleteServer, 500, code, ""),
                Disposition::Retry(_)
            ),
            "{code:?}"
        );
    }
}

#[test]
fn every_code_has_an_answer_for_every_operation() {
    for &code in Code::KNOWN {
        for operation in Operation::ALL {
            let answer = disposition(operation, 422, code, "");
            let next = matches!(answer, Disposition::NextCandidate(_));
            assert!(
                !next || operation == Operation::CreateServer,
                "{operation:?} {code:?}"
            );
        }
        assert_ne!(code.as_str(), "other");
    }
}

#[test]
fn only_a_delete_or_a_look_takes_not_found_for_an_answer() {
    let done: Vec<_> = Operation::ALL
        .into_iter()
        .filter(|operation| disposition(*operation, 404, Code::NotFound, "") == Disposition::Done)
        .map(Operation::as_str)
        .collect();
    assert_eq!(done, ["get-server", "delete-server", "power-on", "relabel"]);
}

#[test]
fn a_bad_token_waits_for_somebody_whatever_was_asked() {
    for operation in Operation::ALL {
        for code in [Code::Unauthorized, Code::TokenReadonly, Code::Other] {
            assert_eq!(disposition(operation, 401, code, ""), Disposition::Operator);
        }
        assert_eq!(
            disposition(operation, 429, Code::Other, ""),
            Disposition::Retry(Pace::Soon)
        );
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_795_341_600 + seconds, 0).unwrap()
}

#[test]
fn a_refused_pair_is_left_alone_and_then_tried_by_one_at_a_time() {
    let mut cool_downs = CoolDowns::default();
    let mut open = |now| cool_downs.try_now("cx23", "nbg1", now);
    assert_eq!(open(at(0)), Ok(()));
    assert_eq!(open(at(0)), Ok(()), "side by side while nothing is known");
    let why = "error during placement (resource_unavailable)".to_owned();
    let ten_minutes = Duration::from_secs(600);
    cool_downs.cool("cx23", "nbg1", why, at(0), ten_minutes);
    assert_eq!(cool_downs.try_now("cx23", "fsn1", at(0)), Ok(()));
    let cold = cool_downs.try_now("cx23", "nbg1", at(599)).unwrap_err();
    insta::assert_snapshot!(cold, @"cx23 in nbg1: error during placement (resource_unavailable), tried again at 10:10:00 UTC");
    assert_eq!(cool_downs.try_now("cx23", "nbg1", at(600)), Ok(()));
    let cold = cool_downs.try_now("cx23", "nbg1", at(601)).unwrap_err();
    assert_eq!(cold.wait.until, at(630), "another one is asking");
    cool_downs.thaw("cx23", "nbg1");
    assert_eq!(cool_downs.try_now("cx23", "nbg1", at(601)), Ok(()));
    assert_eq!(cool_downs.try_now("cx23", "nbg1", at(601)), Ok(()));
}

#[test]
fn a_thousand_pairs_are_remembered_and_the_first_to_thaw_is_forgotten() {
    let mut cool_downs = CoolDowns::default();
    for n in 0..=1_000 {
        let how_long = Duration::from_secs(1_000 + n);
        cool_downs.cool(&format!("cx{n}"), "nbg1", String::new(), at(0), how_long);
    }
    assert_eq!(cool_downs.try_now("cx0", "nbg1", at(0)), Ok(()));
    assert!(cool_downs.try_now("cx1", "nbg1", at(0)).is_err());
}
