//! `apply --prune`: what this caller applied from a directory that the directory no longer has.

use cattle_schemas::api::{ListQuery, PruneRequest, Pruned};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Format, clean},
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
    if dry_run {
        for name in gone {
            if !ctx.out.format.is_document() {
                let note = if ctx.out.format == Format::Name {
                    ""
                } else {
                    " pruned (dry run)"
                };
                ctx.out.line(&format!("{name}{note}"))?;
            }
        }
        return Ok(Exit::Done);
    }
    let request = PruneRequest {
        apply_set: set.to_owned(),
        names: gone.into_iter().map(ToOwned::to_owned).collect(),
    };
    let pruned = client.prune(&request).await?;
    for one in &pruned.items {
        match ctx.out.format {
            Format::Json | Format::Yaml => {}
            Format::Name => ctx.out.line(&clean(&one.name))?,
            Format::Table | Format::Wide => ctx.out.line(&told(one))?,
        }
    }
    Ok(Exit::Done)
}

/// `rex pruned: run 01J… ends for it in 15 s, unless that makes too many`
fn told(pruned: &Pruned) -> String {
    let name = clean(&pruned.name);
    match &pruned.run {
        Some(run) => format!(
            "{name} pruned: run {} ends for it in 15 s, unless that makes too many",
            clean(run)
        ),
        None => format!("{name} pruned"),
    }
}
