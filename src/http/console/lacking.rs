//! What readiness misses, in the language of whoever looks. English is what the API
//! says; what RabbitMQ or the operating system said stays in their own words.

use crate::amqp::Trouble;
use crate::console::language::Language;
use crate::console::view::Missing;
use crate::http::status::Lack;

/// Returns it as the console shows it.
pub(super) fn shown(lack: &Lack, language: Language) -> Missing {
    let why = match language {
        Language::Danish => danish(lack),
        Language::English => lack.why(),
    };
    Missing { what: lack.what().to_owned(), why }
}

fn danish(lack: &Lack) -> String {
    match lack {
        Lack::Connecting(_) => "den første forbindelse til RabbitMQ er ved at blive oprettet".to_owned(),
        Lack::Disconnected(_, trouble) => danish_trouble(trouble),
        Lack::Stopped(_) => "stoppet".to_owned(),
        Lack::Blocked(reason) => format!("RabbitMQ har spærret for afsendelse: {reason}"),
        Lack::WriterSilent(seconds) => format!("intet livstegn i {seconds} s"),
        Lack::Room { mib, .. } => {
            format!("disken med datamappen er for fuld, og modtagelsen er stoppet; frigør mindst {mib} MiB, så fortsætter den af sig selv")
        }
        Lack::ShuttingDown => "er ved at lukke ned".to_owned(),
    }
}

fn danish_trouble(trouble: &Trouble) -> String {
    match trouble {
        Trouble::BadUri { reason } => format!("AMQP-adressen er ikke gyldig ({reason}); ret WSB_AMQP_URI"),
        Trouble::Unreachable { target, reason } => {
            format!("RabbitMQ på {target} kan ikke nås: {reason}; se efter vært, port og TLS i WSB_AMQP_URI, og om RabbitMQ kører")
        }
        Trouble::Certificate { target, problem } => format!("ingen TLS med RabbitMQ på {target}: {problem}"),
        Trouble::BadTlsFiles { problem } => format!("TLS kan ikke bruges: {problem}"),
        Trouble::WrongCredentials { target, user } => {
            format!("RabbitMQ på {target} afviser brugeren '{user}'; ret bruger og adgangskode i WSB_AMQP_URI, eller opret brugeren")
        }
        Trouble::WrongCertificate { target, subject } => {
            let names = subject.as_ref().map_or_else(String::new, |subject| {
                let common = subject.common.as_deref().map_or_else(String::new, |common| format!(", eller '{common}' efter common_name"));
                format!(" (ssl_cert_login_from: '{}'{common})", subject.distinguished)
            });
            format!(
                "RabbitMQ på {target} kender ingen bruger efter vores klientcertifikat{names}; opret brugeren med rettigheder, eller få et \
                 certifikat udstedt i navnet på en bruger, der findes"
            )
        }
        Trouble::VhostMissing { target, vhost } => {
            format!("RabbitMQ på {target} har ingen virtual host '{vhost}'; opret den (rabbitmqctl add_vhost), eller ret WSB_AMQP_URI")
        }
        Trouble::VhostRefused { target, user, vhost } => {
            format!(
                "brugeren '{user}' må ikke bruge virtual host '{vhost}' i RabbitMQ på {target}; giv lov med rabbitmqctl set_permissions"
            )
        }
        Trouble::AnotherBroker { target, vhost } => format!(
            "en anden broker arbejder i virtual host '{vhost}' i RabbitMQ på {target}, så denne hverken modtager eller sender; stop en af dem \
             (det kan også være brokerens egen tidligere forbindelse, som RabbitMQ slipper inden for et minut)"
        ),
        Trouble::Topology(error) => format!("RabbitMQ afviser det, som brokeren opretter: {error}"),
        Trouble::ExchangeMissing { exchange } => format!("exchange '{exchange}' er slettet i RabbitMQ og oprettes igen"),
        Trouble::QueueMissing { queue } => format!("køen '{queue}' er slettet i RabbitMQ, nok med det, der lå i den, og oprettes igen"),
        Trouble::NotBound { exchange, queue } => {
            format!("køen '{queue}' er ikke længere bundet til exchange '{exchange}' i RabbitMQ; begge oprettes igen")
        }
        Trouble::ConsumerCancelled { queue } => {
            format!("RabbitMQ har afbrudt modtagelsen fra køen '{queue}', nok fordi køen er slettet; den oprettes igen")
        }
        Trouble::ChannelClosed { queue, reason } => format!("RabbitMQ har lukket kanalen for køen '{queue}': {reason}"),
        Trouble::ConsumeRefused { user, queue, reason } => {
            format!("brugeren '{user}' må ikke læse køen '{queue}': {reason}; giv læseret med rabbitmqctl set_permissions")
        }
        Trouble::StillBlocked { reason } => {
            format!("RabbitMQ bliver ved med at spærre for afsendelse ({reason}); frigør hukommelse eller disk på RabbitMQ's maskine")
        }
        Trouble::HeldUp { queues, seconds } => format!(
            "RabbitMQ har i {seconds} s intet svaret om det, der er sendt til {queues} køer tilsammen; hver af dem prøves for sig på en ny \
             forbindelse"
        ),
        Trouble::Mute { queue } => {
            format!("køen '{queue}' i RabbitMQ svarer ikke, som når den har mistet sin leder: intet afgøres og intet sendes, før den gør")
        }
        Trouble::Lost { reason } => format!("forbindelsen til RabbitMQ blev afbrudt: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::Connection;

    #[track_caller]
    fn check(lack: &Lack, danish: &str, english: &str) {
        assert_eq!(shown(lack, Language::Danish).why, danish);
        assert_eq!(shown(lack, Language::English).why, english);
    }

    #[test]
    fn what_is_lacking_is_said_in_the_language_of_the_visitor() {
        let why = "the disk is too full".to_owned();
        check(
            &Lack::Room { why: why.clone(), mib: 12 },
            "disken med datamappen er for fuld, og modtagelsen er stoppet; frigør mindst 12 MiB, så fortsætter den af sig selv",
            &why,
        );
        check(&Lack::WriterSilent(11), "intet livstegn i 11 s", "no sign of life for 11 s");
        let trouble = Trouble::QueueMissing { queue: "wsb.q".to_owned() };
        check(
            &Lack::Disconnected(Connection::Publishing, trouble.clone()),
            "køen 'wsb.q' er slettet i RabbitMQ, nok med det, der lå i den, og oprettes igen",
            &trouble.to_string(),
        );
    }

    #[test]
    fn every_part_has_a_word_in_both_languages() {
        let lacks = [Lack::Connecting(Connection::Consuming), Lack::Stopped(Connection::Publishing), Lack::WriterSilent(11)];
        let room = Lack::Room { why: String::new(), mib: 1 };
        for lack in lacks.into_iter().chain([room, Lack::ShuttingDown]) {
            let part = lack.what();
            assert_ne!(Language::Danish.texts().word(part), part);
            assert_ne!(Language::English.texts().word(part), part);
        }
    }
}
