//! [`Hosts`]: network namespaces as hosts, connected by the [`switch`](crate::switch).

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tun_rs::DeviceBuilder;

use crate::Failure;
use crate::link::Link;
use crate::switch::{self, MTU, Port};

/// What namespaces and devices of this program are called; what an earlier run left behind is recognized by it.
const NAME: &str = "hs2wan";
/// Most hosts: one for each number that the address of a network has.
const MOST: usize = 190;

/// Hosts in namespaces of their own, in networks of their own. Dropped, they are gone, with all that runs on them.
pub(crate) struct Hosts {
    /// Bytes that each has received.
    received: Vec<Arc<AtomicU64>>,
    /// Held as long as the hosts are there: their names are the machine's.
    _alone: File,
}

impl Hosts {
    /// Makes a host for each of `links` and connects them.
    pub(crate) fn new(links: &[Link], seed: u64) -> Result<Self, Failure> {
        if links.len() > MOST {
            return Err(format!("{} hosts are too many: at most {MOST}", links.len()).into());
        }
        // Another run waits until this one has ended, or was killed.
        let alone = File::create(std::env::temp_dir().join(format!("{NAME}.lock")))?;
        alone.lock()?;
        remove_all();
        let mut hosts = Self { received: Vec::new(), _alone: alone };
        let mut ports = Vec::new();
        for (number, link) in links.iter().enumerate() {
            let port = make(number, *link)?;
            hosts.received.push(Arc::clone(&port.received));
            ports.push(port);
        }
        switch::connect(ports, seed)?;
        Ok(hosts)
    }

    /// The address of a host. Each has a /16 of its own, as hosts of independent operators do.
    pub(crate) fn address(&self, host: usize) -> Ipv4Addr {
        address(host)
    }

    /// Bytes of all packets that a host has received so far, with all headers down to those of IP.
    pub(crate) fn received(&self, host: usize) -> u64 {
        self.received.get(host).map_or(0, |received| received.load(Ordering::Relaxed))
    }

    /// Lets `name` stand for the address of `other` on a host. Processes that run see the change, as the file stays the
    /// same and its content is replaced.
    pub(crate) fn name(&self, host: usize, name: &str, other: usize) -> Result<(), Failure> {
        let folder = names(host);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{} {name}\n", address(other)))?)
    }

    /// `program`, to be run on a host.
    pub(crate) fn command(&self, host: usize, program: &std::path::Path) -> Command {
        assert!(host < self.received.len(), "there is no host {host}");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name(host)]).arg(program);
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        remove_all();
    }
}

/// Makes two hosts and takes them down.
pub(crate) fn check() -> Result<(), Failure> {
    Hosts::new(&[Link::FREE; 2], 0).map(drop)
}

/// Where `ip netns exec` looks for the files that it puts in the place of those in /etc.
fn names(host: usize) -> PathBuf {
    PathBuf::from("/etc/netns").join(name(host))
}

fn name(host: usize) -> String {
    format!("{NAME}{host}")
}

fn address(host: usize) -> Ipv4Addr {
    let network = u8::try_from(host + 60).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, network, 0, 1)
}

fn make(host: usize, link: Link) -> Result<Port, Failure> {
    let (name, address) = (name(host), address(host));
    let device = DeviceBuilder::new().name(&name).build_sync().map_err(|error| {
        format!("a TUN device can't be made: {error}; run this as root where /dev/net/tun is there")
    })?;
    ip(&["netns", "add", &name])?;
    ip(&["link", "set", &name, "netns", &name])?;
    let inside = |arguments: &[&str]| ip(&[&["-n", &name], arguments].concat());
    inside(&["addr", "add", &format!("{address}/32"), "dev", &name])?;
    inside(&["link", "set", &name, "mtu", &MTU.to_string(), "txqueuelen", "1000", "up"])?;
    inside(&["link", "set", "lo", "up"])?;
    inside(&["route", "add", "10.0.0.0/8", "dev", &name])?;
    Ok(Port { address, device: Arc::new(device), link, received: Arc::default() })
}

fn ip(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("`ip` can't be run: {error}; install iproute2"))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("`ip {}` failed: {reason}", arguments.join(" ")).into())
}

/// Removes every namespace that this program made, now or when it was killed.
fn remove_all() {
    let Ok(output) = Command::new("ip").args(["netns", "list"]).stdin(Stdio::null()).output() else { return };
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in list.split_whitespace().filter(|word| word.starts_with(NAME)) {
        // One that is gone already needs nothing.
        let _ = ip(&["netns", "delete", name]);
        let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(name));
    }
}
