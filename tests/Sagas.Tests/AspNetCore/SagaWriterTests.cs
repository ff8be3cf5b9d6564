using System.Buffers;
using System.Text;
using System.Text.Json;
using Sagas.AspNetCore;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

public sealed class SagaWriterTests
{
    private static readonly DateTimeOffset Noon = new(2026, 1, 31, 13, 0, 0, 5, TimeSpan.FromHours(1));
    private static readonly SagaDefinition Definition = SagaDefinition.Of(new BookTrip(), []);

    [Fact]
    public void A_saga_is_written_to_the_letter()
    {
        var saga = Saga(new StepState { Status = StepStatus.Tried, Attempt = 1, Result = Payload.Parse("""{"id":"é"}"""), StartedAt = Noon, FinishedAt = Noon },
            new StepState { Status = StepStatus.Trying, Attempt = 2, Failures = 2, Due = Noon, StartedAt = Noon, Error = new SagaError("room", "timeout", "no 'answer'") });
        Text(json => SagaWriter.Write(json, saga, Definition)).ShouldBe(
            """{"id":"a","definition":"book-trip","version":1,"status":"Running","paused":false,"mixed":false,"priority":5,"startedAt":"2026-01-31T12:00:00.005Z","updatedAt":"2026-01-31T12:00:00.005Z","committedAt":null,"finishedAt":null,"traceId":"0af7651916cd43dd8448eb211c80319c","tags":{},"input":{"flight":"LH1"},"result":null,"error":null,"waitingFor":"next attempt of try of 'room' at 2026-01-31T12:00:00.005Z","deadline":null,"actions":["cancel","retry","pause","terminate","resolve"],"steps":["""
            + """{"name":"seat","kind":"tcc","status":"Tried","stuck":false,"phase":null,"first":"held","second":"none","attempts":1,"failures":0,"nextAttemptAt":null,"timesOutAt":null,"startedAt":"2026-01-31T12:00:00.005Z","finishedAt":"2026-01-31T12:00:00.005Z","command":null,"result":{"id":"é"},"error":null,"after":[]},"""
            + """{"name":"room","kind":"tcc","status":"Trying","stuck":false,"phase":"try","first":"run","second":"none","attempts":2,"failures":2,"nextAttemptAt":"2026-01-31T12:00:00.005Z","timesOutAt":null,"startedAt":"2026-01-31T12:00:00.005Z","finishedAt":null,"command":null,"result":null,"error":{"step":"room","code":"timeout","message":"no 'answer'"},"after":[]}]}""");
    }

    [Fact]
    public void A_saga_whose_definition_is_gone_is_still_shown()
    {
        var text = Text(json => SagaWriter.Write(json, Saga(new StepState { Status = StepStatus.Trying, InFlight = true, Attempt = 1 }), null));
        text.ShouldContain("\"name\":\"#1\",\"kind\":null");
        text.ShouldContain("reply of the participant to try of '#1', attempt 1");
    }

    [Theory]
    [InlineData(StepStatus.Pending, false, "none", "none")]
    [InlineData(StepStatus.Skipped, false, "none", "none")]
    [InlineData(StepStatus.Trying, false, "run", "none")]
    [InlineData(StepStatus.Doing, false, "run", "none")]
    [InlineData(StepStatus.Waiting, false, "run", "none")]
    [InlineData(StepStatus.Tried, true, "held", "none")]
    [InlineData(StepStatus.Done, true, "ok", "none")]
    [InlineData(StepStatus.Confirming, true, "held", "run")]
    [InlineData(StepStatus.Confirmed, true, "ok", "ok")]
    [InlineData(StepStatus.Cancelling, true, "held", "run")]
    [InlineData(StepStatus.Cancelling, false, "no", "run")]
    [InlineData(StepStatus.Cancelled, true, "ok", "no")]
    [InlineData(StepStatus.Compensating, true, "ok", "run")]
    [InlineData(StepStatus.Compensated, false, "no", "no")]
    [InlineData(StepStatus.Refused, false, "no", "none")]
    [InlineData(StepStatus.Failed, false, "no", "none")]
    public void Every_status_has_its_lanes(StepStatus status, bool answered, string first, string second) =>
        SagaWriter.Lanes(new StepState { Status = status, Result = answered ? Payload.Null : null }).ShouldBe((first, second));

    [Fact]
    public void A_stuck_step_is_what_the_saga_is_at()
    {
        var saga = Saga(new StepState { Status = StepStatus.Confirming, InFlight = true, Attempt = 1 },
            new StepState { Status = StepStatus.Confirming, Stuck = true, Attempt = 11, Failures = 11, Due = Noon }) with { Course = SagaStatus.Confirming };
        SagaWriter.WaitingFor(saga, Definition).ShouldBe("next attempt of confirm of 'room' at 2026-01-31T12:00:00.005Z, and for 1 other step");
        Text(json => SagaWriter.WriteSummary(json, saga, Definition)).ShouldContain("\"status\":\"Stuck\"");
        SagaWriter.WaitingFor(saga with { Paused = true }, Definition).ShouldBe("an operator to resume it (next attempt of confirm of 'room', and for 1 other step)");
        SagaWriter.WaitingFor(saga with { Course = SagaStatus.Terminated }, Definition).ShouldBeNull();
    }

    [Fact]
    public void An_input_is_kept_on_one_line_as_it_was_sent()
    {
        var kept = Body.OnOneLine(Encoding.UTF8.GetBytes(" {\r\n\t\"a b\" : [ 1.50, \"x \\\" y\\\\\" ] ,\n \"ü\":null } "));
        Encoding.UTF8.GetString(kept.Span).ShouldBe("""{"a b":[1.50,"x \" y\\"],"ü":null}""");
    }

    [Fact]
    public void The_actions_shown_are_those_that_the_Decider_allows()
    {
        var random = new Random(11);
        var seen = new HashSet<string>();
        for (var walk = 0; walk < 400; walk++)
        {
            var now = Noon.ToUniversalTime();
            var saga = Decider.Start(Definition, new SagaState { Id = new SagaId("a"), Definition = "", DefinitionVersion = 0, Input = Payload.Parse(ApiHost.Input) }, now).State;
            for (var move = 0; move < 40 && !saga.Ended; move++)
            {
                var step = Definition.Steps[random.Next(Definition.Steps.Length)];
                var at = saga.Steps[step.Index];
                var phase = at.Phase ?? step.ForwardPhase;
                now = now.AddSeconds(1);
                SagaEvent happened = random.Next(12) switch
                {
                    0 when move > 5 => new SagaEvent.CancelRequested("r", "b"),
                    1 => new SagaEvent.PauseRequested("r", "b"),
                    2 or 3 => new SagaEvent.ResumeRequested("r", "b"),
                    4 => new SagaEvent.AttemptTimedOut(step.Name, phase, at.Attempt),
                    5 or 6 => new SagaEvent.RetryDue(step.Name, phase, at.Attempt),
                    7 or 8 => new SagaEvent.Replied(step.Name, phase, at.Attempt, Outcome.Error, Code: "down"),
                    9 when move > 10 => new SagaEvent.Replied(step.Name, phase, at.Attempt, Outcome.Refused),
                    _ => new SagaEvent.Replied(step.Name, phase, at.Attempt, Outcome.Ok, Payload.Parse("""{"id":"1"}""")),
                };
                saga = Decider.Decide(Definition, saga, happened, now).State;
                var actions = string.Join(' ', SagaWriter.Actions(saga, Definition));
                actions.ShouldBe(string.Join(' ', Allowed(saga, now)), $"{saga.Status}, paused {saga.Paused}");
                seen.Add(actions);
            }
        }
        seen.Count.ShouldBeGreaterThan(8);
    }

    private static IEnumerable<string> Allowed(SagaState saga, DateTimeOffset now)
    {
        (string Word, SagaEvent Request)[] requests =
        [
            ("cancel", new SagaEvent.CancelRequested("r", "b")), ("retry", new SagaEvent.RetryRequested("r", "b")), ("resume", new SagaEvent.ResumeRequested("r", "b")),
            ("pause", new SagaEvent.PauseRequested("r", "b")), ("terminate", new SagaEvent.TerminateRequested("r", "b")),
        ];
        foreach (var (word, request) in requests)
            if (Decider.Decide(Definition, saga, request, now).Refused is null) yield return word;
        if (Definition.Steps.Any(step => Decider.Decide(Definition, saga, new SagaEvent.StepResolved(step.Name, true, null, "r", "b"), now).Refused is null)) yield return "resolve";
    }

    private static SagaState Saga(params StepState[] steps) => new()
    {
        Id = new SagaId("a"), Definition = "book-trip", DefinitionVersion = 1, Input = Payload.Parse("""{"flight":"LH1"}"""), Steps = [.. steps],
        StartedAt = Noon, UpdatedAt = Noon, TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };

    private static string Text(Action<Utf8JsonWriter> write)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes, Answer.Json)) write(json);
        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }
}
