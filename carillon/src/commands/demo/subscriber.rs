//! A subscriber of the demo: one person's listener, which can be cut off and come back.
//!
//! In: a connection, orders. Out: what is received, in order. Always: what is received goes over a bounded
//! queue; when it is full, the subscriber waits and the server keeps what it does not read.

use carillon_chassis::tasks::Tasks;
use carillon_client::{ClientError, Connection, Event, Listener, ListenerOptions};
use carillon_schemas::{ChannelName, NotificationId, TenantId};
use tokio::sync::mpsc;

/// Orders between the stage and one subscriber: two are ever given.
const ORDERS: usize = 4;

/// What a subscriber tells.
#[derive(Debug)]
pub(super) enum Told {
    /// A notification.
    Received {
        who: usize,
        tenant: TenantId,
        id: NotificationId,
        content: String,
    },
    /// It is cut off.
    Gone { who: usize },
    /// It is back, from its last cursor.
    Back { who: usize },
    /// It cannot go on.
    Failed { who: usize, error: ClientError },
}

/// What a subscriber is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Let the connection go without a word.
    Drop,
    /// Come back and resume.
    Resume,
}

/// Where orders are given.
pub(super) type Orders = mpsc::Sender<Order>;

/// Subscribes and goes on listening beside the caller.
pub(super) async fn start(
    who: usize,
    server: Connection,
    channel: ChannelName,
    tell: mpsc::Sender<Told>,
    tasks: &Tasks,
) -> Result<Orders, ClientError> {
    let mut listener = Listener::connect(&server, ListenerOptions::channels([channel.clone()])).await?;
    listener.subscribed().await?;
    let (orders, given) = mpsc::channel(ORDERS);
    let stop = tasks.shutdown().clone();
    let life = Life {
        who,
        server,
        channel,
        tell,
        given,
    };
    tasks.spawn("demo subscriber", async move {
        // Whoever stops the demo does not wait for more.
        stop.run_until_cancelled(Box::pin(life.live(listener))).await;
    });
    Ok(orders)
}

struct Life {
    who: usize,
    server: Connection,
    channel: ChannelName,
    tell: mpsc::Sender<Told>,
    given: mpsc::Receiver<Order>,
}

impl Life {
    async fn live(mut self, mut listener: Listener) {
        loop {
            let told = tokio::select! {
                order = self.given.recv() => match order {
                    Some(Order::Drop) => match self.leave(listener).await {
                        Ok(back) => {
                            listener = back;
                            continue;
                        }
                        Err(error) => {
                            self.tell(Told::Failed { who: self.who, error }).await;
                            return;
                        }
                    },
                    Some(Order::Resume) => continue,
                    None => return,
                },
                event = listener.next() => self.heard(event),
            };
            match told {
                Some(told @ Told::Failed { .. }) => return self.tell(told).await,
                Some(told) => self.tell(told).await,
                None => {}
            }
        }
    }

    fn heard(&self, event: Result<Event, ClientError>) -> Option<Told> {
        let who = self.who;
        match event {
            Ok(Event::Notification(frame)) => {
                let envelope = frame.delivery.envelope;
                let (tenant, id, content) = (envelope.tenant_id, envelope.notification_id, envelope.content);
                Some(Told::Received {
                    who,
                    tenant,
                    id,
                    content,
                })
            }
            Ok(_) => None,
            Err(error) => Some(Told::Failed { who, error }),
        }
    }

    /// Away until the order to come back; then a new listener from the old one's cursors.
    async fn leave(&mut self, listener: Listener) -> Result<Listener, ClientError> {
        let since = listener.cursors();
        drop(listener);
        self.tell(Told::Gone { who: self.who }).await;
        while !matches!(self.given.recv().await, Some(Order::Resume) | None) {}
        let options = ListenerOptions {
            since,
            ..ListenerOptions::channels([self.channel.clone()])
        };
        let mut listener = Listener::connect(&self.server, options).await?;
        listener.subscribed().await?;
        self.tell(Told::Back { who: self.who }).await;
        Ok(listener)
    }

    async fn tell(&self, told: Told) {
        // Nobody listens when the demo is over.
        self.tell.send(told).await.unwrap_or_default();
    }
}
