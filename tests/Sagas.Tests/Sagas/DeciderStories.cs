using Shouldly;
using Xunit;

namespace Sagas.Tests.Heart;

public class DeciderStories
{
    private static Story Tell(Saga saga, string story) => new Story(saga).Tell(story);

    [Fact]
    public void Two_reservations_are_tried_side_by_side_and_confirmed_together() => Tell(new Pair(), """
        start     → try seat, try room
        seat ok   → -
        room ok   → confirm seat, confirm room; Confirming
        room ok   → -
        seat ok   → Completed
        """).State.Result!.ToString().ShouldBe("""{"seat":"seat-1","room":"room-1"}""");

    [Fact]
    public void Reservations_in_a_row_are_tried_one_after_the_other_and_confirmed_at_once() => Tell(new Row(), """
        start     → try seat
        seat ok   → try room
        room ok   → try car
        car ok    → confirm seat, confirm room, confirm car; Confirming
        car ok    → -
        seat ok   → -
        room ok   → Completed
        """);

    [Fact]
    public void An_accepted_attempt_stays_in_flight_until_its_callback()
    {
        var story = Tell(new Pair(), """
            start           → try seat, try room
            seat accepted   → -
            """);
        story.Step("seat").ShouldSatisfyAllConditions(s => s.InFlight.ShouldBeTrue(), s => s.Due.ShouldBe(Story.Noon.AddMinutes(10)), s => s.Failures.ShouldBe(0));
        story.Tell("""
            seat ok         → -
            seat accepted   → -
            room ok         → confirm seat, confirm room; Confirming
            seat accepted   → -
            seat refused    → -
            seat is due     → confirm seat#2
            """);
        story.History.Count(h => h.Event == "accepted").ShouldBe(2);
    }

    [Fact]
    public void A_lapsed_acceptance_is_an_unknown_outcome_that_counts_and_is_asked_again()
    {
        var story = Tell(new Pair(), """
            start               → try seat, try room
            seat accepted       → -
            seat times out      → -
            seat is due         → try seat#2
            seat try#1 accepted → -
            """);
        story.Step("seat").ShouldSatisfyAllConditions(s => s.Failures.ShouldBe(1), s => s.Unknown.ShouldBeTrue(), s => s.Due.ShouldBe(story.Now + StepDefinition.DefaultTimeout));
        story.Tell("""
            seat try#1 ok       → -
            room ok             → confirm seat, confirm room; Confirming
            """);
    }

    [Fact]
    public void A_refusal_cancels_the_other_reservation_and_not_the_refused_one()
    {
        var story = Tell(new Pair(), """
            start          → try seat, try room
            seat ok        → -
            room refused   → cancel seat; Compensating
            seat ok        → Compensated
            """);
        story.Step("room").Status.ShouldBe(StepStatus.Refused);
        story.Step("seat").Status.ShouldBe(StepStatus.Cancelled);
        story.State.Error.ShouldBe(new SagaError("room", "sold-out", "Sold out."));
    }

    [Fact]
    public void A_refusal_of_the_first_in_a_row_leaves_the_rest_untouched()
    {
        var story = Tell(new Row(), """
            start          → try seat
            seat refused   → Compensated
            """);
        story.Step("room").Status.ShouldBe(StepStatus.Pending);
    }

    [Fact]
    public void A_refusal_at_the_end_of_a_row_undoes_in_reverse_order() => Tell(new Row(), """
        start         → try seat
        seat ok       → try room
        room ok       → try car
        car refused   → cancel room; Compensating
        room ok       → cancel seat
        seat ok       → Compensated
        """);

    [Fact]
    public void A_try_still_on_its_way_when_the_saga_turns_back_counts_as_done_and_is_cancelled() => Tell(new Pair(), """
        start           → try seat, try room
        room refused    → cancel seat; Compensating
        seat try#1 ok   → -
        seat ok         → Compensated
        """);

    [Fact]
    public void A_lost_reply_is_asked_again_and_the_answer_to_either_attempt_will_do() => Tell(new Pair(), """
        start             → try seat, try room
        seat ok           → -
        room times out    → -
        room is due       → try room#2
        room try#1 ok     → confirm seat, confirm room; Confirming
        room try#2 ok     → -
        seat ok           → -
        room ok           → Completed
        """);

    [Fact]
    public void An_unknown_outcome_is_never_forgotten_but_cancelled_too() => Tell(new Pair(), """
        start            → try seat, try room
        seat ok          → -
        room times out   → -
        room is due      → try room#2
        room times out   → cancel room, cancel seat; Compensating
        room ok          → -
        seat ok          → Compensated
        """);

    [Fact]
    public void Errors_use_up_the_attempts_like_timeouts() => Tell(new Pair(), """
        start         → try seat, try room
        room error    → -
        room is due   → try room#2
        room error    → cancel room, cancel seat; Compensating
        """);

    [Fact]
    public void An_error_that_is_not_to_be_retried_turns_back_at_once() => Tell(new Pair(), """
        start        → try seat, try room
        room fatal   → cancel room, cancel seat; Compensating
        """);

    [Fact]
    public void Busy_is_asked_again_later_and_not_counted()
    {
        var story = Tell(new Pair(), """
            start         → try seat, try room
            room busy     → -
            room is due   → try room#2
            room busy     → -
            room is due   → try room#3
            room busy     → -
            """);
        story.Step("room").Due.ShouldBe(story.Now.AddSeconds(3));
        story.Tell("""
            room is due   → try room#4
            room error    → -
            """);
        story.Step("room").Failures.ShouldBe(1);
    }

    [Fact]
    public void Busy_and_then_refused_is_refused_and_not_undone() => Tell(new Pair(), """
        start          → try seat, try room
        seat ok        → -
        room busy      → -
        room is due    → try room#2
        room refused   → cancel seat; Compensating
        seat ok        → Compensated
        """).Step("room").Status.ShouldBe(StepStatus.Refused);

    [Fact]
    public void A_refusal_of_an_earlier_attempt_leaves_the_one_in_flight_unheard() => Tell(new Pair(), """
        start                → try seat, try room
        room busy            → -
        room is due          → try room#2
        room try#1 refused   → cancel room, cancel seat; Compensating
        """);

    /// <summary>The first copy of a command took effect and broke, the second one was refused, and its reply was first.</summary>
    [Fact]
    public void A_refusal_in_doubt_is_undone_though_its_attempt_is_the_only_one() => Tell(new Pair(), """
        start                   → try seat, try room
        seat ok                 → -
        room refused in doubt   → cancel room, cancel seat; Compensating
        room ok                 → -
        seat ok                 → Compensated
        """);

    [Fact]
    public void A_refusal_after_a_busy_in_doubt_is_undone() => Tell(new Pair(), """
        start                → try seat, try room
        room busy in doubt   → -
        room is due          → try room#2
        room refused         → cancel room, cancel seat; Compensating
        """);

    [Fact]
    public void A_step_last_heard_of_as_busy_is_undone() => Tell(new Pair(), """
        start          → try seat, try room
        room busy      → -
        seat refused   → cancel room; Compensating
        """);

    [Fact]
    public void A_refusal_after_an_unheard_attempt_is_undone_all_the_same() => Tell(new Pair(), """
        start            → try seat, try room
        seat ok          → -
        room times out   → -
        room is due      → try room#2
        room refused     → cancel room, cancel seat; Compensating
        room ok          → -
        seat ok          → Compensated
        """);

    [Fact]
    public void The_saga_timeout_cancels_whatever_may_have_been_sent() => Tell(new Pair(), """
        start            → try seat, try room
        seat ok          → -
        saga times out   → cancel room, cancel seat; Compensating
        seat ok          → -
        room ok          → Compensated
        """).State.Error!.Code.ShouldBe("saga-timeout");

    [Fact]
    public void The_saga_timeout_ends_at_the_commit_point()
    {
        var story = Tell(new Pair(), "start → try seat, try room");
        story.State.Deadline.ShouldBe(Story.Noon + 5.Minutes());
        story.Tell("""
            seat ok   → -
            room ok   → confirm seat, confirm room; Confirming
            """).State.Deadline.ShouldBeNull();
    }

    [Fact]
    public void A_saga_timeout_past_the_commit_point_changes_nothing() => Tell(new Pair(), """
        start            → try seat, try room
        seat ok          → -
        room ok          → confirm seat, confirm room; Confirming
        saga times out   → -
        seat ok          → -
        room ok          → Completed
        """).History.ShouldNotContain(h => h.Event == "turned-back");

    [Fact]
    public void An_operator_cancels_before_anything_was_answered() => Tell(new Pair(), """
        start     → try seat, try room
        cancel    → cancel room, cancel seat; Compensating
        cancel    → -
        seat ok   → -
        room ok   → Compensated
        cancel    → conflict
        """).State.Error.ShouldBe(new SagaError(null, "cancelled", "second thoughts"));

    [Fact]
    public void An_operator_cancels_between_two_steps() => Tell(new Row(), """
        start     → try seat
        seat ok   → try room
        cancel    → cancel room; Compensating
        room ok   → cancel seat
        seat ok   → Compensated
        """);

    [Fact]
    public void An_operator_cannot_cancel_past_the_commit_point() => Tell(new Pair(), """
        start     → try seat, try room
        seat ok   → -
        room ok   → confirm seat, confirm room; Confirming
        cancel    → conflict
        seat ok   → -
        cancel    → conflict
        room ok   → Completed
        cancel    → conflict
        """);

    [Fact]
    public void Repeated_and_late_replies_change_nothing() => Tell(new Pair(), """
        start              → try seat, try room
        seat ok            → -
        seat try#1 ok      → -
        seat try#1 error   → -
        room ok            → confirm seat, confirm room; Confirming
        seat try#1 refused → -
        seat ok            → -
        seat confirm#1 ok  → -
        seat cancel#1 ok   → -
        room ok            → Completed
        room confirm#1 ok  → -
        room try#1 ok      → -
        """);

    [Fact]
    public void A_refusal_of_a_reservation_that_succeeded_before_changes_nothing() => Tell(new Pair(), """
        start              → try seat, try room
        seat ok            → -
        seat try#1 refused → -
        room ok            → confirm seat, confirm room; Confirming
        """);

    [Fact]
    public void An_error_of_an_earlier_attempt_says_nothing_of_the_one_in_flight() => Tell(new Pair(), """
        start             → try seat, try room
        room times out    → -
        room is due       → try room#2
        room try#1 error  → -
        room try#1 busy   → -
        room ok           → -
        seat ok           → confirm seat, confirm room; Confirming
        """);

    [Fact]
    public void A_busy_of_an_earlier_attempt_says_nothing_of_the_one_in_flight()
    {
        var story = Tell(new Pair(), """
            start             → try seat, try room
            seat times out    → -
            seat is due       → try seat#2
            seat try#1 busy   → -
            """);
        story.Step("seat").InFlight.ShouldBeTrue();
        story.History[^1].Event.ShouldBe("sent");
    }

    [Fact]
    public void Failures_are_counted_for_each_phase_by_itself()
    {
        var story = Tell(new Pair(), """
            start            → try seat, try room
            seat times out   → -
            seat is due      → try seat#2
            seat times out   → cancel room, cancel seat; Compensating
            """);
        story.Step("seat").Failures.ShouldBe(0);
        story.Step("seat").Attempt.ShouldBe(1);
    }

    [Fact]
    public void A_confirm_is_asked_again_until_it_succeeds() => Tell(new Pair(), """
        start            → try seat, try room
        seat ok          → -
        room ok          → confirm seat, confirm room; Confirming
        seat ok          → -
        room times out   → -
        room is due      → confirm room#2
        room refused     → -
        room is due      → confirm room#3
        room error       → -
        room is due      → confirm room#4
        room busy        → -
        room is due      → confirm room#5
        room ok          → Completed
        """);

    [Fact]
    public void A_cancel_that_fails_for_a_while_is_asked_again_until_it_succeeds() => Tell(new Pair(), """
        start            → try seat, try room
        seat ok          → -
        room refused     → cancel seat; Compensating
        seat error       → -
        seat is due      → cancel seat#2
        seat times out   → -
        seat is due      → cancel seat#3
        seat refused     → -
        seat is due      → cancel seat#4
        seat ok          → Compensated
        """);

    [Fact]
    public void A_confirm_that_keeps_failing_shows_as_stuck_until_it_succeeds()
    {
        var story = Tell(new Pair(), """
            start     → try seat, try room
            seat ok   → -
            room ok   → confirm seat, confirm room; Confirming
            seat ok   → -
            """);
        for (var failure = 1; failure < 10; failure++)
            story.Tell($"""
                room error    → -
                room is due   → confirm room#{failure + 1}
                """);
        story.Tell("""
            room error    → Stuck
            room is due   → confirm room#11
            room error    → -
            room is due   → confirm room#12
            room ok       → Completed
            """);
        story.History.Count(h => h.Event == "stuck").ShouldBe(1);
    }

    [Fact]
    public void An_operator_retries_out_of_a_long_backoff() => Tell(new Pair(), """
        start         → try seat, try room
        retry         → conflict
        seat ok       → -
        room error    → -
        retry         → try room#2
        retry         → conflict
        room ok       → confirm seat, confirm room; Confirming
        """);

    [Fact]
    public void A_stuck_confirm_resolved_as_done_completes_the_saga()
    {
        var story = Stuck();
        story.Tell("""
            seat resolved done       → conflict
            room resolved done       → Completed
            """);
        story.History[^2].ShouldSatisfyAllConditions(h => h.Event.ShouldBe("resolved"), h => h.By.ShouldBe("ann"), h => h.Reason.ShouldBe("seen on paper"));
    }

    [Fact]
    public void A_confirm_resolved_as_not_done_is_never_reported_as_success()
    {
        var story = Stuck().Tell("room resolved not done → Terminated");
        story.State.Mixed.ShouldBeTrue();
    }

    [Fact]
    public void A_failing_try_resolved_as_done_or_not_done_goes_on_or_back()
    {
        Tell(new Pair(), """
            start                → try seat, try room
            seat ok              → -
            room error           → -
            room resolved done   → confirm seat, confirm room; Confirming
            """);
        Tell(new Pair(), """
            start                    → try seat, try room
            seat ok                  → -
            room error               → -
            room resolved not done   → cancel seat; Compensating
            """).Step("room").Status.ShouldBe(StepStatus.Refused);
    }

    [Fact]
    public void A_paused_saga_hears_but_sends_nothing_new_until_it_is_resumed() => Tell(new Row(), """
        start     → try seat
        pause     → -
        pause     → conflict
        retry     → conflict
        seat ok   → -
        resume    → try room
        resume    → conflict
        room ok   → try car
        pause     → -
        car ok    → -
        resume    → confirm seat, confirm room, confirm car; Confirming
        """);

    [Fact]
    public void Cancelling_a_paused_saga_lifts_the_pause() => Tell(new Row(), """
        start     → try seat
        pause     → -
        cancel    → cancel seat; Compensating
        pause     → -
        seat ok   → -
        cancel    → Compensated
        """);

    [Fact]
    public void What_falls_due_while_paused_is_asked_after_resuming() => Tell(new Pair(), """
        start         → try seat, try room
        seat error    → -
        pause         → -
        seat is due   → -
        resume        → -
        seat is due   → try seat#2
        """);

    [Fact]
    public void A_refusal_while_paused_turns_back_on_resuming() => Tell(new Row(), """
        start          → try seat
        seat ok        → try room
        pause          → -
        room refused   → Compensating
        resume         → cancel seat
        seat ok        → Compensated
        """);

    [Fact]
    public void An_operator_terminates_what_cannot_be_saved() => Tell(new Pair(), """
        start       → try seat, try room
        seat ok     → -
        terminate   → Terminated
        room ok     → -
        terminate   → conflict
        """).State.Mixed.ShouldBeTrue();

    [Fact]
    public void An_ended_saga_is_not_paused() => Tell(new Pair(), """
        start       → try seat, try room
        pause       → -
        terminate   → Terminated
        resume      → conflict
        """).State.Paused.ShouldBeFalse();

    [Fact]
    public void A_trip_mixes_reservations_plain_steps_and_a_pivot() => Tell(new Trip(), """
        start        → try seat, try room
        seat ok      → -
        room ok      → do hold
        hold ok      → do capture
        capture ok   → confirm seat, confirm room, do ticket; Confirming
        room ok      → -
        ticket ok    → -
        seat ok      → Completed
        """);

    [Fact]
    public void The_commands_carry_what_the_mappings_made_and_confirms_carry_command_and_result()
    {
        var story = Tell(new Trip(), """
            start        → try seat, try room
            seat ok      → -
            room ok      → do hold
            hold ok      → do capture
            capture ok   → confirm seat, confirm room, do ticket; Confirming
            """);
        string Sent(string step, Phase phase) => story.Sent.Single(s => s.Step == step && s.Phase == phase).Payload.ToString();
        Sent("seat", Phase.Try).ShouldBe("""{"name":"Ada"}""");
        Sent("hold", Phase.Do).ShouldBe("""{"name":"Ada","amount":20}""");
        Sent("capture", Phase.Do).ShouldBe("""{"id":"hold-1"}""");
        Sent("seat", Phase.Confirm).ShouldBe("""{"command":{"name":"Ada"},"result":{"id":"seat-1","price":10}}""");
    }

    [Fact]
    public void Every_attempt_and_the_confirm_say_what_the_first_attempt_said()
    {
        var story = Tell(new Moody(), """
            start            → try seat
            seat times out   → -
            seat is due      → try seat#2
            seat ok          → confirm seat; Confirming
            """);
        story.Sent[1].Payload.ShouldBe(story.Sent[0].Payload);
        story.Sent[2].Payload.ToString().ShouldStartWith($$"""{"command":{{story.Sent[0].Payload}},""");
    }

    [Fact]
    public void A_refused_plain_step_is_not_undone_and_what_came_before_is() => Tell(new Trip(), """
        start          → try seat, try room
        seat ok        → -
        room ok        → do hold
        hold refused   → cancel room, cancel seat; Compensating
        seat ok        → -
        room ok        → Compensated
        """);

    [Fact]
    public void A_refused_pivot_undoes_everything_in_reverse_with_the_steps_own_result()
    {
        var story = Tell(new Trip(), """
            start             → try seat, try room
            seat ok           → -
            room ok           → do hold
            hold ok           → do capture
            capture refused   → compensate hold; Compensating
            hold ok           → cancel room, cancel seat
            seat ok           → -
            room ok           → Compensated
            """);
        story.Sent.Single(s => s.Phase == Phase.Compensate).Payload.ToString().ShouldBe("""{"id":"hold-1"}""");
    }

    [Fact]
    public void While_the_pivot_is_out_the_saga_cannot_turn_back() => Tell(new Trip(), """
        start                → try seat, try room
        seat ok              → -
        room ok              → do hold
        hold ok              → do capture
        cancel               → conflict
        saga times out       → -
        capture times out    → -
        cancel               → conflict
        capture is due       → do capture#2
        capture times out    → -
        capture is due       → do capture#3
        capture ok           → confirm seat, confirm room, do ticket; Confirming
        """);

    [Fact]
    public void A_pivot_that_is_never_answered_shows_as_stuck_and_is_asked_for_ever()
    {
        var story = Tell(new Trip(), """
            start        → try seat, try room
            seat ok      → -
            room ok      → do hold
            hold ok      → do capture
            """);
        for (var failure = 1; failure < 10; failure++)
            story.Tell($"""
                capture times out   → -
                capture is due      → do capture#{failure + 1}
                """);
        story.Tell("""
            capture times out   → Stuck
            capture is due      → do capture#11
            capture refused     → compensate hold; Compensating
            """);
    }

    [Fact]
    public void A_refusal_after_the_pivot_is_an_error_like_any_other() => Tell(new Trip(), """
        start            → try seat, try room
        seat ok          → -
        room ok          → do hold
        hold ok          → do capture
        capture ok       → confirm seat, confirm room, do ticket; Confirming
        seat ok          → -
        room ok          → -
        ticket refused   → -
        ticket is due    → do ticket#2
        ticket error     → -
        ticket is due    → do ticket#3
        ticket error     → -
        ticket is due    → do ticket#4
        ticket ok        → Completed
        """);

    [Fact]
    public void A_refusal_beside_the_pivot_waits_for_the_pivots_answer()
    {
        const string beginning = """
            start          → try seat
            seat ok        → do capture, do look
            look refused   → -
            cancel         → conflict
            look is due    → do look#2
            look error     → -

            """;
        Tell(new Beside(), beginning + "capture refused → cancel seat; Compensating").Step("look").Status.ShouldBe(StepStatus.Skipped);
        Tell(new Beside(), beginning + """
            capture ok    → confirm seat; Confirming
            seat ok       → -
            look is due   → do look#3
            look ok       → Completed
            """);
    }

    [Fact]
    public void Plain_steps_are_undone_in_reverse_passing_over_what_only_read()
    {
        var story = Tell(new Plain(), """
            start       → do one
            one ok      → do look
            look ok     → do two
            cancel      → compensate two; Compensating
            two ok      → compensate one
            one ok      → Compensated
            """);
        story.Sent.Where(s => s.Phase == Phase.Compensate).Select(s => s.Payload.ToString()).ShouldBe(["""{"name":"Ada"}""", """{"id":"one-1"}"""]);
    }

    [Fact]
    public void Plain_steps_alone_complete_when_the_last_is_done() => Tell(new Plain(), """
        start     → do one
        one ok    → do look
        look ok   → do two
        two ok    → Completed
        """);

    [Fact]
    public void A_read_only_step_given_up_turns_back_and_is_not_undone() => Tell(new Plain(), """
        start         → do one
        one ok        → do look
        look error    → -
        look is due   → do look#2
        look error    → compensate one; Compensating
        one ok        → Compensated
        """).Step("look").Status.ShouldBe(StepStatus.Failed);

    [Fact]
    public void A_compensation_that_needs_an_unknown_result_asks_for_it_first()
    {
        var story = Tell(new Plain(), """
            start           → do one
            one times out   → -
            cancel          → compensate one; Compensating
            """);
        story.Sent[^1].Payload.IsNull.ShouldBeTrue();
        story.Tell("""
            one do#1 ok     → compensate one#2
            one do#1 ok     → -
            one ok          → Compensated
            """);
        story.Sent[^1].Payload.ToString().ShouldBe("""{"id":"one-1"}""");
    }

    [Fact]
    public void A_result_that_is_told_while_paused_is_used_after_resuming()
    {
        var story = Tell(new Plain(), """
            start           → do one
            one times out   → -
            cancel          → compensate one; Compensating
            pause           → -
            one do#1 ok     → -
            resume          → -
            one times out   → -
            one is due      → compensate one#2
            one ok          → Compensated
            """);
        story.Sent[^1].Payload.ToString().ShouldBe("""{"id":"one-1"}""");
    }

    [Fact]
    public void A_compensation_whose_step_never_took_effect_needs_no_result() => Tell(new Plain(), """
        start           → do one
        one times out   → -
        one is due      → do one#2
        one times out   → compensate one; Compensating
        one ok          → Compensated
        """);

    [Fact]
    public void A_short_branch_waits_for_a_long_one_and_is_undone_beside_it()
    {
        Tell(new Fork(), """
            start     → try seat, try room
            seat ok   → -
            room ok   → try car
            car ok    → do hold
            hold ok   → confirm seat, confirm room, confirm car; Confirming
            """);
        Tell(new Fork(), """
            start          → try seat, try room
            seat ok        → -
            room ok        → try car
            car ok         → do hold
            hold refused   → cancel car, cancel seat; Compensating
            seat ok        → -
            car ok         → cancel room
            room ok        → Compensated
            """);
        Tell(new Fork(), """
            start          → try seat, try room
            room ok        → try car
            seat refused   → cancel car; Compensating
            car ok         → cancel room
            room ok        → Compensated
            """);
    }

    [Fact]
    public void A_mapping_that_throws_refuses_its_step_and_turns_back() => Tell(new Throwing.InStep(), """
        start     → try seat
        seat ok   → cancel seat; Compensating
        seat ok   → Compensated
        """).State.Error!.ShouldSatisfyAllConditions(e => e.Code.ShouldBe("mapping-failed"), e => e.Step.ShouldBe("room"));

    [Fact]
    public void A_result_that_cannot_be_made_turns_back_before_the_commit_point() => Tell(new Throwing.InResult(), """
        start     → try seat
        seat ok   → cancel seat; Compensating
        seat ok   → Compensated
        """);

    [Fact]
    public void A_mapping_that_throws_after_the_pivot_leaves_its_step_stuck() => Tell(new Throwing.AfterPivot(), """
        start                  → do capture
        capture ok             → Stuck
        ticket is due          → -
        ticket resolved done   → Completed
        """);

    [Fact]
    public void A_compensation_that_cannot_be_made_is_stuck_and_resolved_by_an_operator() => Tell(new Throwing.InCompensation(), """
        start                → do hold
        hold ok              → try seat
        seat refused         → Stuck
        hold resolved done   → Compensated
        """);

    [Fact]
    public void After_a_crash_what_was_in_flight_is_asked_again_and_not_counted()
    {
        var story = Tell(new Pair(), """
            start       → try seat, try room
            seat ok     → -
            recovered   → try room#2
            recovered   → try room#3
            """);
        story.Step("room").Failures.ShouldBe(0);
        story.Tell("""
            room ok     → confirm seat, confirm room; Confirming
            recovered   → confirm seat#2, confirm room#2
            seat ok     → -
            room ok     → Completed
            recovered   → -
            """);
    }

    [Fact]
    public void A_refusal_after_a_crash_leaves_the_attempt_of_before_the_crash_unheard() => Tell(new Pair(), """
        start          → try seat, try room
        recovered      → try seat#2, try room#2
        room refused   → cancel room, cancel seat; Compensating
        """);

    [Fact]
    public void A_timer_of_an_earlier_attempt_changes_nothing() => Tell(new Pair(), """
        start                  → try seat, try room
        room times out         → -
        room is due            → try room#2
        room try#1 times out   → -
        room try#1 is due      → -
        room ok                → -
        room try#2 times out   → -
        """);

    [Fact]
    public void Delays_double_up_to_the_longest_with_a_little_jitter()
    {
        var retry = new Retry(9, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(10), 2);
        for (var failures = 1; failures <= 2000; failures++)
        {
            var plain = Math.Min(10, Math.Pow(2, failures - 1));
            retry.Delay(failures, 12345u * (uint)failures).TotalSeconds.ShouldBeInRange(plain, plain * 1.2);
        }
    }

    [Fact]
    public void What_is_due_next_is_the_earliest_of_saga_timeout_attempts_and_retries()
    {
        var story = Tell(new Pair(), "start → try seat, try room");
        Timers.Next(story.State).ShouldBe(Story.Noon.AddSeconds(10));
        story.Tell("pause → -");
        Timers.Next(story.State).ShouldBeNull();
        story.Tell("""
            resume          → -
            seat ok         → -
            room busy       → -
            """);
        Timers.Next(story.State).ShouldBe(Story.Noon.AddSeconds(3));
        Timers.Due(SagaDefinition.Of(new Pair(), []), story.State, Story.Noon.AddMinutes(5)).Count().ShouldBe(2);
    }

    [Fact]
    public void A_result_larger_than_the_limit_is_an_error() =>
        new Story(new Pair()).Answers("room", $"\"{new string('x', Decider.MaxPayload)}\"").Tell("""
            start     → try seat, try room
            room ok   → -
            """).Step("room").Error!.Code.ShouldBe("result-too-large");

    private static Story Stuck()
    {
        var story = Tell(new Pair(), """
            start     → try seat, try room
            seat ok   → -
            room ok   → confirm seat, confirm room; Confirming
            seat ok   → -
            """);
        for (var failure = 1; failure < 10; failure++)
            story.Tell($"""
                room error    → -
                room is due   → confirm room#{failure + 1}
                """);
        return story.Tell("room error → Stuck");
    }
}
