//! The walk: one notification from POST to frame, and what can be read of it afterwards.

use carillon_client::{Api, Connection, Event, Listener, ListenerOptions, Publisher};
use carillon_fixtures::{PATIENCE, eventually};
use carillon_schemas::{
    ChannelName, NotificationId,
    frame::NotificationFrame,
    notification::{Audience, Submission},
    problem::ProblemCode,
    status::Status,
};
use carillon_testkit::stack::{Lane, Stack};

carillon_testkit::on_both_lanes!(
    a_notification_walks_from_post_to_frame_and_its_state_says_so,
    the_same_key_gives_the_same_notification_and_one_frame,
    a_user_notification_reaches_every_socket_of_that_user_and_no_other,
    a_new_socket_gets_the_last_n_then_what_comes_and_the_snapshot_route_agrees,
);

pub(crate) fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

pub(crate) fn submission(to: &str, content: &str) -> Submission {
    let mut submission = Submission::text(content);
    submission.channel = Some(channel(to));
    submission
}

/// A connection to the first node of a kind.
pub(crate) fn server(url: &str, token: &str) -> Connection {
    Connection::new(url).unwrap().with_token(token)
}

pub(crate) async fn listener(stack: &Stack, token: &str, options: ListenerOptions) -> Listener {
    let mut listener = Listener::connect(&server(stack.fanouts[0].url(), token), options)
        .await
        .unwrap();
    listener.subscribed().await.unwrap();
    listener
}

/// The next notification, passing over other events.
pub(crate) async fn next(listener: &mut Listener) -> Box<NotificationFrame> {
    let wait = async {
        loop {
            if let Event::Notification(frame) = listener.next().await.unwrap() {
                return frame;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("a notification in time")
}

/// The state of a notification once it has come as far as `status`.
async fn state(api: &Api, id: NotificationId, status: Status) -> Vec<Status> {
    let ask = || async { api.notification(id).await.ok().map(|s| (s.status, s.timeline)) };
    let seen = eventually("the state", ask, |s| {
        s.as_ref().is_some_and(|(now, _)| *now >= status)
    })
    .await;
    seen.unwrap().1.iter().map(|entry| entry.status).collect()
}

async fn a_notification_walks_from_post_to_frame_and_its_state_says_so(lane: Lane) {
    let stack = Stack::builder(lane).start().await;
    let token = stack.token("acme", "u1");
    let mut listener = listener(&stack, &token, ListenerOptions::channels([channel("alerts")])).await;
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let mut sent = submission("alerts", "disk almost full");
    sent.title = Some("Disk".to_owned());

    let accepted = publisher.publish(&sent, None).await.unwrap();
    let frame = next(&mut listener).await;

    assert_eq!(frame.delivery.envelope.notification_id, accepted.notification_id);
    assert_eq!(frame.delivery.envelope.content, "disk almost full");
    assert_eq!(frame.delivery.envelope.title.as_deref(), Some("Disk"));
    assert_eq!(frame.stream.to_string(), "channel:alerts");
    let api = Api::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let timeline = state(&api, accepted.notification_id, Status::Dispatched).await;
    assert_eq!(timeline, [Status::Accepted, Status::Stored, Status::Dispatched]);
    listener.close().await;
    stack.finish().await;
}

async fn the_same_key_gives_the_same_notification_and_one_frame(lane: Lane) {
    let stack = Stack::builder(lane).start().await;
    let token = stack.token("acme", "u1");
    let mut listener = listener(&stack, &token, ListenerOptions::channels([channel("alerts")])).await;
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let key = "order-17".parse().unwrap();

    let first = publisher
        .publish(&submission("alerts", "one"), Some(&key))
        .await
        .unwrap();
    let second = publisher
        .publish(&submission("alerts", "one"), Some(&key))
        .await
        .unwrap();
    assert!(!first.deduplicated && second.deduplicated);
    assert_eq!(first.notification_id, second.notification_id);
    let other = publisher
        .publish(&submission("alerts", "another body"), Some(&key))
        .await
        .unwrap_err();
    assert_eq!(other.problem().unwrap().code, ProblemCode::IdempotencyKeyReused);

    publisher
        .publish(&submission("alerts", "two"), None)
        .await
        .unwrap();
    assert_eq!(next(&mut listener).await.delivery.envelope.content, "one");
    assert_eq!(next(&mut listener).await.delivery.envelope.content, "two");
    listener.close().await;
    stack.finish().await;
}

async fn a_user_notification_reaches_every_socket_of_that_user_and_no_other(lane: Lane) {
    let stack = Stack::builder(lane).start().await;
    let (mine, theirs) = (stack.token("acme", "u1"), stack.token("acme", "u2"));
    let nothing = || ListenerOptions::channels([]);
    let mut phone = listener(&stack, &mine, nothing()).await;
    let mut desk = listener(&stack, &mine, nothing()).await;
    let mut other = listener(&stack, &theirs, ListenerOptions::channels([channel("alerts")])).await;
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &theirs)).unwrap();
    let mut sent = submission("alerts", "for you");
    sent.audience = Some(Audience::User);
    sent.user_id = Some("u1".parse().unwrap());

    publisher.publish(&sent, None).await.unwrap();
    publisher
        .publish(&submission("alerts", "for all"), None)
        .await
        .unwrap();

    for socket in [&mut phone, &mut desk] {
        let frame = next(socket).await;
        assert_eq!(
            (
                frame.stream.to_string().as_str(),
                frame.delivery.envelope.content.as_str()
            ),
            ("user:u1", "for you")
        );
    }
    assert_eq!(next(&mut other).await.delivery.envelope.content, "for all");
    stack.finish().await;
}

async fn a_new_socket_gets_the_last_n_then_what_comes_and_the_snapshot_route_agrees(lane: Lane) {
    let stack = Stack::builder(lane).start().await;
    let token = stack.token("acme", "u1");
    let publisher = Publisher::new(&server(stack.ingests[0].url(), &token)).unwrap();
    for n in 1..=7 {
        publisher
            .publish(&submission("alerts", &format!("{n}")), None)
            .await
            .unwrap();
    }
    let api = Api::new(&server(stack.ingests[0].url(), &token)).unwrap();
    let tenant = "acme".parse().unwrap();
    let recent = || async {
        api.recent(&tenant, &channel("alerts"), 3)
            .await
            .unwrap()
            .notifications
    };
    let page = eventually("the snapshot", recent, |p| {
        p.last().is_some_and(|e| e.notification.content == "7")
    })
    .await;
    let contents: Vec<_> = page.iter().map(|e| e.notification.content.as_str()).collect();
    assert_eq!(contents, ["5", "6", "7"]);

    let options = ListenerOptions {
        last: Some(3),
        ..ListenerOptions::channels([channel("alerts")])
    };
    let mut late = listener(&stack, &token, options).await;
    publisher.publish(&submission("alerts", "8"), None).await.unwrap();
    for n in 5..=8 {
        assert_eq!(next(&mut late).await.delivery.envelope.content, n.to_string());
    }
    stack.finish().await;
}
