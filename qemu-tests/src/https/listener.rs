//! The listening socket, which can be closed and opened, and the connections it made.

use super::{Shared, respond};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the handle asks of the listener; answered when it is done.
pub(super) enum Command {
    /// Refuse connections and break those that exist.
    Close(Sender<io::Result<()>>),
    /// Listen, if not already so.
    Open(Sender<io::Result<()>>),
}

pub(super) struct Listener {
    port: u16,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    connections: JoinSet<()>,
}

impl Listener {
    pub(super) fn new(port: u16, tls: Arc<ServerConfig>, shared: Arc<Shared>) -> Self {
        Self {
            port,
            tls: tls.into(),
            shared,
            connections: JoinSet::new(),
        }
    }

    /// Accepts connections and carries out commands until the handle is dropped.
    pub(super) async fn run(
        mut self,
        socket: std::net::TcpListener,
        mut inbox: UnboundedReceiver<Command>,
    ) {
        let mut socket = TcpListener::from_std(socket).ok();
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    None => return,
                    Some(Command::Close(done)) => {
                        socket = None;
                        self.connections.shutdown().await;
                        let _left = done.send(Ok(()));
                    }
                    Some(Command::Open(done)) => {
                        let _left = done.send(self.open(&mut socket).await);
                    }
                },
                stream = accept(socket.as_ref()) => self.serve(stream),
                Some(_ended) = self.connections.join_next() => {}
            }
        }
    }

    async fn open(&self, socket: &mut Option<TcpListener>) -> io::Result<()> {
        if socket.is_none() {
            // Tokio sets SO_REUSEADDR, so connections in TIME_WAIT do not hold the port.
            *socket = Some(TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?);
        }
        Ok(())
    }

    fn serve(&mut self, stream: TcpStream) {
        let (tls, shared) = (self.tls.clone(), Arc::clone(&self.shared));
        self.connections.spawn(async move {
            // A client that breaks off, or a fault that does, ends this connection and nothing else.
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let answer = service_fn(|request| {
                let answer = respond::answer(&request, &shared);
                async { Ok::<_, std::convert::Infallible>(answer) }
            });
            let _ended = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// The next connection; never, while the socket is closed.
async fn accept(socket: Option<&TcpListener>) -> TcpStream {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    loop {
        // Errors here are those of one connection that is already gone.
        if let Ok((stream, _)) = socket.accept().await {
            let _slower = stream.set_nodelay(true);
            return stream;
        }
    }
}
