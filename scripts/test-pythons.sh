#!/usr/bin/env bash
# Run the fast tests on each Python that the package supports, in environments of their own below
# build/pythons. They hold the extra `study` and no TensorFlow.
#
#   scripts/test-pythons.sh 3.12 3.13
#
# An interpreter is looked for on PATH, among pyenv's and among uv's; CI also asks Debian or uv to
# install it. A version that neither offers is named at the end, and its tests are not run.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly UV=.venv/bin/uv
readonly LOCK=requirements/fast-tests.txt
readonly ENVIRONMENTS=build/pythons
# Most of the package in a minute and a half of one core: no TensorFlow, container, Terraform,
# browser, training or long simulation.
readonly FAST_TESTS=(
  tests/statistics/test_{means,stability}.py tests/test_files.py tests/test_errors.py
  tests/grader/artifacts/test_{manifest,open,pack}.py
  tests/grader/fundus/test_{apply,decode,field_of_view,graham,photograph,hostile_images}.py
  tests/grader/grading tests/grader/test_inference.py
  tests/grader/evaluation/test_{comparison,curves,evaluate,graders,predictions}.py
  tests/grader/runtimes/test_{classifier,cpu_limit}.py
  tests/grader/quantization/test_verdict.py
  tests/hosting/sagemaker
  tests/hosting/serving/test_{counters,gateway,large_images,lean_http,worker_plan}.py
  tests/hosting/serving/test_{negotiation,payload,settings}.py
  tests/hosting/local/test_{control_plane,iam_policies,metrics,request_validation}.py
  tests/study/measurements
  tests/study/recommendation/test_{bill,candidates,cost,recommendation,simulation,traffic}.py
  tests/study/running/test_{answer,cloudwatch,models,photographs,plan,runner,scenarios}.py
)

say() { printf 'test-pythons: %s\n' "$*" >&2; }

# A name on PATH may be a shim of pyenv that starts nothing.
starts_version() {
  [[ $("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$2" ]]
}

find_python() {
  local version=$1 candidate
  for candidate in "$(command -v "python$version")" "$HOME"/.pyenv/versions/"$version".*/bin/python \
    "$("$UV" python find "$version" 2>/dev/null)"; do
    if [[ -n $candidate ]] && starts_version "$candidate" "$version"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

provide_python() {
  local version=$1
  find_python "$version" && return
  [[ ${CI:-} == true ]] || return 1
  if apt-cache show "python$version" >/dev/null 2>&1; then
    scripts/install-debian-packages.sh "python$version" "python$version-venv" || return 2
  else
    "$UV" python install --quiet "$version" >&2 || true
  fi
  find_python "$version"
}

set_up() {
  local python=$1 environment=$2
  if [[ ! $environment/.ready -nt $LOCK ]]; then
    rm -rf "$environment"
    "$python" -m venv "$environment"
    "$UV" pip install --quiet --python "$environment/bin/python" --require-hashes -r "$LOCK" ||
      "$environment/bin/python" -m pip install --quiet --require-hashes -r "$LOCK"
    touch "$environment/.ready"
  fi
}

failed=() absent=()
declare -A runs=()
trap '[[ ${#runs[@]} -eq 0 ]] || kill "${runs[@]}" 2>/dev/null || true' EXIT
for version in "$@"; do
  status=0
  python=$(provide_python "$version") || status=$?
  case $status in
    0) ;;
    1) absent+=("$version") && continue ;;
    *) exit "$status" ;; # there is a package, and it could not be installed
  esac
  environment=$ENVIRONMENTS/$version
  set_up "$python" "$environment"
  # Not the installed package but these sources, also in the processes that tests start. All the
  # versions at once: each uses one processor.
  PYTHONPATH=$PWD/src "$environment/bin/python" -m pytest -q -p no:cacheprovider "${FAST_TESTS[@]}" \
    >"$environment.log" 2>&1 &
  runs[$version]=$!
done
for version in "${!runs[@]}"; do
  wait "${runs[$version]}" || failed+=("$version")
  say "Python $version"
  cat "$ENVIRONMENTS/$version.log"
  unset "runs[$version]"
done
if [[ ${#absent[@]} -gt 0 ]]; then
  say "not tested for want of an interpreter: Python ${absent[*]} (not on the PATH, and not from pyenv or uv)"
fi
if [[ ${#failed[@]} -gt 0 ]]; then
  say "tests fail on Python ${failed[*]}"
  exit 1
fi
