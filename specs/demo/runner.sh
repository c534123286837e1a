#!/bin/sh
# The demo's runner: stands where a real fleet has its agent. It does what the task's message says:
#
#   ok TEXT             leave a result and succeed
#   fail CODE TEXT      exit with CODE
#   sleep SECONDS TEXT  work for so long, then succeed
#
# A runner gets the run's env, the workspace as its directory, and two paths: CLAWDLETS_TASK_FILE
# and CLAWDLETS_PERSONA_DIR. What it prints is the log, its exit code the status, and `result.json`
# in the workspace the result.
set -eu

# The task is one JSON object in one line; its message has no escapes in the demo.
message=$(sed 's/.*"message": *"\([^"]*\)".*/\1/' "$CLAWDLETS_TASK_FILE")
verb=${message%% *}
rest=${message#* }

echo "persona: $(head -n 1 "$CLAWDLETS_PERSONA_DIR/SOUL.md" | tr -d '# ')"
echo "task: $message"
# Names, never values.
echo "credentials: $(env | sed -n 's/^\([A-Z0-9_]*_\(KEY\|TOKEN\)\)=.*/\1/p' | sort | tr '\n' ' ')"

result() {
  printf '{"summary": "%s"}\n' "$1" > result.json
  echo "done: $1"
}

case $verb in
  ok)
    echo "working"
    sleep 1
    result "$rest"
    ;;
  fail)
    echo "giving up: ${rest#* }" >&2
    exit "${rest%% *}"
    ;;
  sleep)
    seconds=${rest%% *}
    echo "working for $seconds seconds"
    elapsed=0
    while [ "$elapsed" -lt "$seconds" ]; do
      sleep 1
      elapsed=$((elapsed + 1))
      echo "still at it after $elapsed s"
    done
    result "${rest#* }"
    ;;
  *)
    echo "this runner knows ok, fail and sleep; the message begins with \`$verb\`" >&2
    exit 64
    ;;
esac
