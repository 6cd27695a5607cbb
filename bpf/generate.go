// Package bpf holds the kernel programs, as C and as compiled objects with
// their Go bindings.
package bpf

//go:generate ../scripts/bpf2go.sh Connections connections.c -type flow -type event -type in_force -type flood_key -type flood -type opening_slot -type flow_key -type vlan_key -type sweep_run -type counter -type verdict -type action -type reason -type reject_choice -type interface_flags -type end_reason -type direction -type event_kind -type flow_flags -type flow_tcp -type entry_flags -type policy_settings -type policy_entry -type policy_entries -type policy_row -type policy_summary -type policy_item -type policy_items -type policy_class -type trie_node -type trie_nodes -type trie_root -type trie_leaves -type policy_services -type rule_label -type application -type look_wanted -type settlement -type settle_run -type settle_flags -type settle_result -type stage -type copy -type copy_kind -type copy_flags -type hold_state -type hold_flags -type cause
//go:generate ../scripts/bpf2go.sh Look look.c
//go:generate ../scripts/bpf2go.sh Hold hold.c -type hold_handle -type handle_flags
//go:generate ../scripts/bpf2go.sh XDP xdp.c
//go:generate ../scripts/bpf2go.sh SSHLogin sshlogin.c -type ssh_server -type ssh_tuple -type ssh_login -type ssh_state -type ssh_verdict -type ssh_reading
//go:generate ../scripts/mutants.sh
