//! `apply --prune`: what this caller applied from a directory that the directory no longer has.

use cattle_schemas::api::{DestroyQuery, ListQuery};

use super::destroy;
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::Format,
    report,
};

/// Removes from the controller what `set` no longer has, after it has said which.
pub(super) async fn prune(
    ctx: &Context,
    set: &str,
    kept: &[String],
    dry_run: bool,
) -> Result<Exit, Failure> {
    let query = ListQuery {
        apply_set: Some(set.to_owned()),
        all: true,
        ..ListQuery::default()
    };
    let client = ctx.client()?;
    let listed = client.list(&query).await?;
    let gone: Vec<&str> = listed
        .items
        .iter()
        // One without a spec was removed before; only its history is left.
        .filter(|cattle| cattle.origin.is_some() && !kept.contains(&cattle.name))
        .map(|cattle| cattle.name.as_str())
        .collect();
    if gone.is_empty() {
        return Ok(Exit::Done);
    }
    let would = if dry_run {
        "would be pruned"
    } else {
        "to prune"
    };
    ctx.out
        .warning(&format!("{} {would}: {}", gone.len(), gone.join(", ")));
    let mut exit = Exit::Done;
    for name in gone {
        if dry_run {
            if !ctx.out.format.is_document() {
                let note = if ctx.out.format == Format::Name {
                    ""
                } else {
                    " pruned (dry run)"
                };
                ctx.out.line(&format!("{name}{note}"))?;
            }
            continue;
        }
        match client.destroy(name, &DestroyQuery::default()).await {
            Ok(reply) => match ctx.out.format {
                Format::Json | Format::Yaml => {}
                Format::Name => ctx.out.line(&reply.name)?,
                Format::Table | Format::Wide => {
                    let ran_before =
                        reply.run.is_none() && destroy::earlier_run(client, name).await.is_some();
                    let what = destroy::what_happened(&reply, ran_before);
                    ctx.out.line(&format!("{} pruned: {what}", reply.name))?;
                }
            },
            Err(failure) => {
                report::failure(&ctx.out, &failure);
                exit = exit.worse(failure.exit());
            }
        }
    }
    Ok(exit)
}
