//! Every adapter keeps every law of its trait: see `daymark_tests::contract`.

#[cfg(target_os = "linux")]
use daymark_adapters::port_picker::Held;
use daymark_adapters::port_picker::{Loopback, MemoryPorts};
use daymark_adapters::state_store::MemoryStore;
use daymark_tests::contract::clock::{Manual, System};
use daymark_tests::contract::http_server::Sockets;
use daymark_tests::contract::memory_http::InMemory;
use daymark_tests::contract::state_store::Files;
use daymark_tests::{clock_laws, http_server_laws, port_picker_laws, state_store_laws};

clock_laws!(the_system_clock, System::default());
clock_laws!(the_manual_clock, Manual::default());

port_picker_laws!(loopback_ports_of_ipv4, Loopback::V4);
port_picker_laws!(loopback_ports_of_ipv6, Loopback::V6);
port_picker_laws!(ports_in_memory, MemoryPorts::default());
#[cfg(target_os = "linux")]
port_picker_laws!(held_ports, Held, but_not_listening);

http_server_laws!(a_server_in_process, Sockets::new().await);
http_server_laws!(a_server_in_memory, InMemory::new().await);
#[cfg(target_os = "linux")]
daymark_tests::child_laws!(
    a_child_that_is_passed_a_socket,
    env!("CARGO_BIN_EXE_lawkeeper"),
    "passed"
);
#[cfg(target_os = "linux")]
daymark_tests::child_laws!(
    a_child_that_is_told_a_port,
    env!("CARGO_BIN_EXE_lawkeeper"),
    "held"
);

state_store_laws!(state_in_files, Files::default());
state_store_laws!(state_in_memory, MemoryStore::default());
