use std::time::Duration;

use super::super::{Code, CoolDowns, Disposition, Operation, Pace, table::disposition};
use cattle_core::desired::Placement;
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

fn placement() -> Placement {
    Placement {
        image: "1".to_owned(),
        server_types: vec!["cx23".to_owned(), "cpx22".to_owned()],
        locations: vec!["nbg1".to_owned(), "fsn1".to_owned()],
    }
}

#[test]
fn a_refused_pair_is_left_alone_until_it_thaws() {
    let mut cool_downs = CoolDowns::default();
    let placement = placement();
    cool_downs.cool("cx23", "nbg1", at(0), Duration::from_secs(600));
    let left = |cool_downs: &CoolDowns, now| {
        cool_downs
            .candidates(&placement, now)
            .map(|(a, b)| format!("{a}/{b}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        left(&cool_downs, at(599)),
        ["cx23/fsn1", "cpx22/nbg1", "cpx22/fsn1"]
    );
    assert_eq!(left(&cool_downs, at(600)).len(), 4);
    cool_downs.thaw("cx23", "nbg1");
    assert_eq!(left(&cool_downs, at(1)).len(), 4);
}

#[test]
fn when_all_pairs_are_cold_the_first_to_thaw_is_known() {
    let mut cool_downs = CoolDowns::default();
    let placement = placement();
    for (seconds, (server_type, location)) in (1..).zip(placement.candidates()) {
        assert_eq!(cool_downs.all_cold_until(&placement, at(0)), None);
        cool_downs.cool(
            server_type,
            location,
            at(0),
            Duration::from_secs(100 * seconds),
        );
    }
    assert_eq!(cool_downs.all_cold_until(&placement, at(0)), Some(at(100)));
}
