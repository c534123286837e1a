//! Help, usage errors, completions, manual pages.

use insta::assert_snapshot;

use crate::fake::Fake;

#[test]
fn completions_are_those_of_the_program() {
    let fake = Fake::start();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = fake.clawdlets(&["completions", shell]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{shell}");
        assert!(
            run.stdout.contains("clawdlets") && run.stdout.contains("describe"),
            "{shell}"
        );
        let run = fake.clf(&["completions", shell]);
        assert!(
            run.stdout.contains("clf") && run.stdout.contains("enqueue"),
            "{shell}"
        );
    }
}

#[test]
fn manual_pages_are_written_for_each_command() {
    let fake = Fake::start();
    let run = fake.clawdlets(&["man"]);
    assert!(run.stdout.contains(".TH clawdlets 1"), "{run}");
    assert_eq!(fake.clawdlets(&["man", "--dir", "man"]).code, 0);
    for page in [
        "clawdlets.1",
        "clawdlets-cattle-apply.1",
        "clf-jobs-enqueue.1",
    ] {
        assert!(fake.dir.path().join("man").join(page).is_file(), "{page}");
    }
}

#[test]
fn usage_errors_exit_with_two() {
    let fake = Fake::start();
    for args in [
        &["cattle", "nonsense"][..],
        &["cattle", "extend", "rex", "--by", "soon"],
        &["cattle", "describe", "../etc"],
        &["cattle", "spawn", "--persona", "rex"],
        &["cattle", "apply", "-f", "x", "--timeout", "1h"],
        &["cattle", "list", "-o", "xml"],
    ] {
        let run = fake.clawdlets(args);
        assert_eq!(run.code, 2, "{args:?}: {run}");
        assert_eq!(run.stdout, "", "{args:?}");
    }
    assert_snapshot!(fake.clawdlets(&["cattle", "extend", "rex", "--by", "1h30m"]), @r"
    exit: 2
    --- stdout ---
    --- stderr ---
    error: invalid value '1h30m' for '--by <DURATION>': `1h30m` is not a duration: write a number and one of s, m, h, d, as in `90m`

    For more information, try '--help'.
    ");
    assert_eq!(fake.lines(), "");
}

#[test]
fn the_first_help_tells_where_to_start() {
    let fake = Fake::start();
    assert_snapshot!(fake.clawdlets(&["--help"]), @r"
    exit: 0
    --- stdout ---
    Ephemeral agent VMs on Hetzner Cloud: write a spec file, get one VM, one task, one result

    Usage: clawdlets [OPTIONS] <COMMAND>

    Commands:
      init         Write a project to start from
      cattle       Cattle: VMs that run one task and are gone
      completions  Print a shell's completions
      man          Print the manual page, or write all pages to a directory
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Options of every command:
          --socket <PATH>
              The controller's socket [default: $CLF_SOCKET_PATH, the project's,
              /run/clf/orchestrator.sock]

          --project <DIR>
              The project, whoever owns it [default: the nearest one of yours or root's, here or above]

      -o, --output <FORMAT>
              How the answer is printed

              Possible values:
              - table: Columns for people
              - wide:  More of them
              - json:  The API's own shapes
              - yaml:  The same as YAML
              - name:  Names alone, one a line

      -q, --quiet
              Say nothing on the way: only answers, warnings and errors

      -v, --verbose
              Tell each call to the controller

          --color <WHEN>
              When to use colours; `auto` also heeds NO_COLOR

              Possible values:
              - auto:   On a terminal, unless `NO_COLOR` is set
              - always: Always
              - never:  Never

    Start here:
      clawdlets init my-fleet            a project to start from; it names the next steps
      clawdlets cattle validate          check its spec files, without a controller
      clawdlets cattle list              see what is there
      clawdlets cattle spawn --persona rex --message 'Say hello' --wait

    Every command of `cattle` but `validate` and `persona` asks a controller (`clf-orchestrator run`).
    That watches the project's cattle/specs by itself: a file there needs no `apply`.

    Exit codes: 0 done, 1 error, 2 usage, 3 no controller reached, 4 the run ended without success,
    5 the wait timed out (the cattle goes on), 6 refused by a limit or a conflict.
    --- stderr ---
    ");
    assert_snapshot!(fake.clawdlets(&["cattle", "--help"]).stdout, @r"
    Cattle: VMs that run one task and are gone

    Usage: clawdlets cattle [OPTIONS] <COMMAND>

    Commands:
      apply     Make what spec files ask for so
      spawn     Start one cattle without writing a spec file
      list      Show all cattle [alias: ls]
      describe  Show everything about one cattle
      events    Show what happened, to one cattle or to all
      result    Print what a run left in result.json
      logs      Print what a run wrote
      destroy   End runs, or pending ones before they start
      rerun     Run an ended cattle once more
      retry     Look at once at what pending cattle wait for
      extend    Give a run more time
      wait      Wait until a run is running, ended or gone
      plan      Show what the controller would do next, and change nothing
      cost      Show what servers cost
      reap      Delete servers that are past their expiry
      pause     Start nothing, or end nothing because of spec files, until `resume`
      resume    Go on after a pause, or show what is paused
      validate  Check spec files without a controller
      persona   Personas of this project
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Options of every command:
          --socket <PATH>
              The controller's socket [default: $CLF_SOCKET_PATH, the project's,
              /run/clf/orchestrator.sock]

          --project <DIR>
              The project, whoever owns it [default: the nearest one of yours or root's, here or above]

      -o, --output <FORMAT>
              How the answer is printed

              Possible values:
              - table: Columns for people
              - wide:  More of them
              - json:  The API's own shapes
              - yaml:  The same as YAML
              - name:  Names alone, one a line

      -q, --quiet
              Say nothing on the way: only answers, warnings and errors

      -v, --verbose
              Tell each call to the controller

          --color <WHEN>
              When to use colours; `auto` also heeds NO_COLOR

              Possible values:
              - auto:   On a terminal, unless `NO_COLOR` is set
              - always: Always
              - never:  Never
    ");
}
