// Package bpf holds the kernel programs, as C and as compiled objects with
// their Go bindings.
package bpf

//go:generate ../scripts/bpf2go.sh Connections connections.c -type flow -type event -type flow_key -type sweep_run -type counter -type verdict -type action -type reason -type reject_choice -type interface_flags -type end_reason -type direction -type event_kind -type flow_flags -type flow_tcp -type entry_flags -type policy_settings -type policy_entry -type policy_row -type policy_services -type rule_label -type prefix4 -type prefix6
//go:generate ../scripts/mutants.sh
