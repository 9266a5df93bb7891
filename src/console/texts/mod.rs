//! Every text of the console, one table a language. A table without one of them
//! does not compile; the tests compare the tables with one another.
//!
//! `{}` stands for a value, `one|many` for a number's two forms.

mod da;
mod en;

pub use da::DANISH;
pub use en::ENGLISH;

macro_rules! texts {
    ($($name:ident)*) => {
        /// The texts of one language.
        #[derive(Debug)]
        pub struct Texts {
            $(
                /// See the table.
                pub $name: &'static str,
            )*
            /// What the broker's own words mean: states, reasons, actions.
            pub words: &'static [(&'static str, &'static str)],
        }

        impl Texts {
            /// Returns every text with its name.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

texts! {
    brand skip menu nav_overview nav_recipients nav_failures nav_replays nav_maintenance nav_quarantine nav_gdpr
    nav_audit search_label search_button logout role_viewer role_operator role_vendor theme theme_auto theme_light
    theme_dark language apply as_of live next_page first_page nothing_here more_may_follow ago in_future now hours days
    why why_hint why_optional cancel actions all details none login_title login_intro login_token login_button login_unknown
    login_missing login_too_many login_closed login_ended logged_out wrong_title wrong_nothing wrong_nothing_detail
    wrong_nothing_vendor problem_not_ready problem_paused problem_ordered problem_dead_growing problem_dead problem_dead_since
    problem_quarantine problem_quarantine_many problem_routing problem_routing_detail problem_overdue problem_old
    problem_waiting_for_go problem_stuck act_recipients act_failures act_quarantine act_pauses act_gdpr act_replays
    total_waiting total_retrying total_dead total_oldest recipients_first recipients_all recipients_title filter
    filter_text filter_state state_troubled col_recipient col_vendor col_state col_waiting col_oldest col_dead col_hour
    state_open state_failing state_ordered state_window until probed_next spark_label spark_none queue lanes_blocked
    waiting_list dead_list resume_now resume_probe pause_now failures_title groups_title more_groups list_title
    col_cause col_type col_count col_first col_last col_id col_event col_attempts col_next col_select select_all since
    to replay_selected replay_all nothing_selected delivery_title delivery_because delivery_registration delivery_day
    see_trace discard replay_one first_at last_at next_at replays_count preview_title preview_matched preview_would_send
    preview_would_withdraw preview_claimed preview_by_recipient preview_nothing col_would_send col_would_withdraw rate
    rate_hint canary canary_hint start_replay start_replay_one replays_title replay_title col_replay col_progress
    col_started col_by replay_progress replay_dead_now replay_sent replay_withdrawn replay_skipped replay_stop replay_go replay_resume
    replay_canary replay_held replays_none trace_title trace_event trace_source trace_registered trace_taken_in trace_lies trace_lay trace_change
    trace_record trace_line trace_scale trace_steps trace_left_out trace_no_delivery step_taken_in step_failed
    step_delivered step_withdrawn step_dead step_took_over step_took_over_unknown step_decided_anew step_not_entitled
    step_record_deleted step_came_back step_may_have_been_sent step_replayed step_replayed_in_vain waits_for wait_outcome wait_connection wait_release wait_behind wait_others step_earlier step_next change_1 change_2 change_3 search_title
    search_nothing search_number search_empty maintenance_title maintenance_now maintenance_none maintenance_begin
    maintenance_intro maintenance_for maintenance_hours maintenance_forever col_since col_until col_why by_operator
    by_maintenance by_failure quarantine_title quarantine_intro quarantine_none col_number col_came col_wrong col_size
    quarantine_retry quarantine_discard bytes gdpr_title gdpr_intro gdpr_overdue gdpr_none gdpr_counting gdpr_caption
    gdpr_unfetched gdpr_since gdpr_notices gdpr_reminded gdpr_unexpected gdpr_erased_since
    col_area gdpr_due gdpr_ordered gdpr_blocked gdpr_sum gdpr_month audit_title audit_intro col_when col_who col_what
    col_about dry_run error_title error_not_found error_forbidden error_form error_refused error_later error_said back
    done_paused done_resumed done_stopped done_started done_released done_discarded done_retried done_thrown
    nav_lanes total_taken_in total_delivered total_prevented lanes_title lanes_intro lanes_parked lanes_none_parked
    lanes_blocked_title lanes_head lane_release lane_park lane_park_hint windows_title windows_from windows_begins
    windows_now windows_repeats windows_weekly windows_once windows_none gdpr_unfetched_intro gdpr_close
    gdpr_close_until erasures_title erasures_intro erasure_own erasure_confirm erasure_for_good done_parked
    done_let_go done_closed done_erased
    problem_unfetched problem_erasures problem_parked problem_backup problem_backup_old act_lanes act_erasures when_tried
    problem_intake problem_contradictory problem_contradictory_detail backup_latest backup_none waiting_first
    problem_certificate problem_certificate_soon problem_tokens problem_tokens_detail call_vendor stale_silent stale_refused
    act_runbook runbook_title runbook_sections
}

impl Texts {
    /// Returns what one of the broker's own words means; the word itself where
    /// nobody has said.
    #[must_use]
    pub fn word<'w>(&self, word: &'w str) -> &'w str {
        self.words.iter().find(|(known, _)| *known == word).map_or(word, |(_, meaning)| meaning)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What reads the same in both.
    const SAME: [&str; 5] = ["search_button", "days", "login_token", "col_type", "replay_stop"];

    #[test]
    fn both_tables_are_complete() {
        for ((name, danish), (_, english)) in DANISH.all().into_iter().zip(ENGLISH.all()) {
            assert!(!danish.trim().is_empty() && !english.trim().is_empty(), "{name} is empty");
            assert!(danish != english || SAME.contains(&name), "{name} is not translated: {danish}");
            let shape = |text: &str| (text.matches('|').count(), text.split('|').next_back().map_or(0, |many| many.matches("{}").count()));
            assert_eq!(shape(danish), shape(english), "{name}");
        }
    }

    #[test]
    fn both_know_the_same_words() {
        let words = |texts: &Texts| texts.words.iter().map(|(word, _)| *word).collect::<BTreeSet<_>>();
        assert_eq!(words(&DANISH), words(&ENGLISH));
        assert_eq!(words(&DANISH).len(), DANISH.words.len(), "a word stands twice");
        assert!(DANISH.words.iter().chain(ENGLISH.words).all(|(_, meaning)| !meaning.is_empty()));
        assert_eq!(DANISH.word("membership-ended"), "medlemskabet er ophørt");
        assert_eq!(ENGLISH.word("unheard-of"), "unheard-of");
    }
}
