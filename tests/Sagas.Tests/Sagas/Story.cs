using System.Buffers;
using Shouldly;

namespace Sagas.Tests.Heart;

/// <summary>
/// Tells a saga's life line by line: what happens on the left of the arrow, what must follow on its right.
/// <code>
/// start          → try seat, try room
/// seat ok        → -
/// room refused   → cancel seat; Compensating
/// seat ok        → Compensated
/// </code>
/// On the left: <c>start</c>; <c>STEP ok|refused|error|busy|accepted|times out|is due</c> for the phase under way, or with a phase and an attempt for late
/// ones (<c>seat try#1 ok</c>); <c>saga times out</c>, <c>recovered</c>; <c>cancel|retry|pause|resume|terminate</c>, <c>STEP resolved done|not done</c>.
/// On the right: commands in the order in which they are sent, then the status if it changed; <c>-</c> is nothing; <c>conflict</c> is refused with advice.
/// After every line the invariants hold, and the state survives being stored and read back.
/// </summary>
internal sealed class Story
{
    public static readonly DateTimeOffset Noon = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);
    private readonly SagaDefinition _saga;
    private readonly Dictionary<string, string> _results = [];
    private SagaState? _state;

    public Story(Saga saga, params CommandRoute[] routes) : this(SagaDefinition.Of(saga, routes)) { }

    public Story(SagaDefinition saga) => _saga = saga;

    public SagaState State => _state!;
    public DateTimeOffset Now { get; private set; } = Noon;
    public List<HistoryEntry> History { get; } = [];
    public List<Effect.Send> Sent { get; } = [];

    /// <summary>What a step answers; default: <c>{"id":"STEP-1","price":10}</c>.</summary>
    public Story Answers(string step, string result)
    {
        _results[step] = result;
        return this;
    }

    public Story Tell(string story)
    {
        foreach (var line in story.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            var halves = line.Split('→', 2, StringSplitOptions.TrimEntries);
            var heard = Happen(halves[0]);
            heard.ShouldBe(halves[1], $"in line \"{line}\"");
        }
        return this;
    }

    public StepState Step(string name) => State.Steps[_saga.Find(name)!.Index];

    private string Happen(string what)
    {
        var before = _state?.Status ?? SagaStatus.Running;
        Decision decision;
        if (what == "start")
        {
            decision = Decider.Start(_saga, new SagaState { Id = new SagaId("t1"), Definition = "", DefinitionVersion = 0, Input = Payload.Parse("""{"name":"Ada"}""") }, Now);
        }
        else
        {
            var happened = Event(what);
            // Time passes to what is due, as the timer pump would wait for it.
            if (happened is SagaEvent.AttemptTimedOut late && Step(late.Step).Due is { } end) Now = end;
            if (happened is SagaEvent.RetryDue due && Step(due.Step).Due is { } next) Now = next;
            if (happened is SagaEvent.SagaTimedOut && State.Deadline is { } deadline) Now = deadline;
            decision = Decider.Decide(_saga, State, happened, Now);
            Decider.Decide(_saga, State, happened, Now).Effects.ShouldBe(decision.Effects, "the same question has the same answer");
        }
        if (decision.Refused is not null)
        {
            ReferenceEquals(decision.State, _state).ShouldBeTrue("a refused request changes nothing");
            return "conflict";
        }
        if (_state is { Ended: true }) decision.State.ShouldBeSameAs(_state, "an ended saga never changes");
        Invariants.Check(_saga, decision.State).ShouldBeEmpty();
        StoredAndReadBack(decision.State);
        decision.History.Select(h => h.Seq).ShouldBe(Enumerable.Range(History.Count + 1, decision.History.Length));
        _state = decision.State;
        History.AddRange(decision.History);
        Sent.AddRange(decision.Effects.OfType<Effect.Send>());
        var follows = string.Join(", ", decision.Effects.OfType<Effect.Send>()
            .Select(send => $"{send.Phase.Word()} {send.Step}{(send.Attempt > 1 ? $"#{send.Attempt}" : "")}"));
        var status = State.Status == before ? "" : State.Status.ToString();
        return (follows, status) switch { ("", "") => "-", (_, "") => follows, ("", _) => status, _ => $"{follows}; {status}" };
    }

    private SagaEvent Event(string what)
    {
        switch (what)
        {
            case "saga times out": return new SagaEvent.SagaTimedOut();
            case "recovered": return new SagaEvent.Recovered();
            case "cancel": return new SagaEvent.CancelRequested("second thoughts", "ann");
            case "retry": return new SagaEvent.RetryRequested("it is up again", "ann");
            case "pause": return new SagaEvent.PauseRequested("to look", "ann");
            case "resume": return new SagaEvent.ResumeRequested("looked", "ann");
            case "terminate": return new SagaEvent.TerminateRequested("enough", "ann");
        }
        var words = what.Split(' ', 2);
        var step = _saga.Find(words[0]) ?? throw new ArgumentException($"'{what}': there is no step '{words[0]}'.");
        var now = Step(step.Name);
        var rest = words[1];
        if (rest == "resolved done") return new SagaEvent.StepResolved(step.Name, true, Result(step.Name), "seen on paper", "ann");
        if (rest == "resolved not done") return new SagaEvent.StepResolved(step.Name, false, null, "seen on paper", "ann");
        var phase = now.Phase ?? step.ForwardPhase;
        var attempt = Math.Max(now.Attempt, 1);
        if (rest.Contains('#'))
        {
            var late = rest.Split(' ', 2);
            var at = late[0].Split('#');
            (phase, attempt, rest) = (Wire.PhaseOf(at[0]), int.Parse(at[1]), late[1]);
        }
        return rest switch
        {
            "times out" => new SagaEvent.AttemptTimedOut(step.Name, phase, attempt),
            "is due" => new SagaEvent.RetryDue(step.Name, phase, attempt),
            "ok" => new SagaEvent.Replied(step.Name, phase, attempt, Outcome.Ok, phase == step.ForwardPhase ? Result(step.Name) : null),
            "refused" => new SagaEvent.Replied(step.Name, phase, attempt, Outcome.Refused, Code: "sold-out", Message: "Sold out."),
            "error" => new SagaEvent.Replied(step.Name, phase, attempt, Outcome.Error, Code: "IOException", Message: "Disk on fire."),
            "fatal" => new SagaEvent.Replied(step.Name, phase, attempt, Outcome.Error, Code: "InvalidOperationException", Message: "A bug."),
            "accepted" => new SagaEvent.Accepted(step.Name, phase, attempt, TimeSpan.FromMinutes(10)),
            "refused in doubt" => new SagaEvent.Replied(step.Name, phase, attempt, Outcome.Refused, Code: "sold-out", Message: "Sold out.") { InDoubt = true },
            "busy in doubt" => new SagaEvent.Replied(step.Name, phase, attempt, Outcome.Busy, RetryAfter: TimeSpan.FromSeconds(3)) { InDoubt = true },
            "busy" => new SagaEvent.Replied(step.Name, phase, attempt, Outcome.Busy, RetryAfter: TimeSpan.FromSeconds(3)),
            _ => throw new ArgumentException($"'{what}' is no event."),
        };
    }

    private Payload Result(string step) => Payload.Parse(_results.GetValueOrDefault(step, $$"""{"id":"{{step}}-1","price":10}"""));

    private static void StoredAndReadBack(SagaState state)
    {
        var bytes = new ArrayBufferWriter<byte>();
        StateJson.Write(bytes, state);
        var read = StateJson.Read(bytes.WrittenSpan);
        var again = new ArrayBufferWriter<byte>();
        StateJson.Write(again, read);
        again.WrittenSpan.SequenceEqual(bytes.WrittenSpan).ShouldBeTrue("a stored state reads back as it was");
        read.Status.ShouldBe(state.Status);
    }
}
