using System.Collections.Immutable;

namespace Sagas;

/// <summary>Tells the way to a state: the engine's part as a story that a test can tell, the rest as remarks.</summary>
internal sealed class ExplorerStory(ExplorerWorld world)
{
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch;
    private readonly ImmutableArray<StoryLine>.Builder _lines = ImmutableArray.CreateBuilder<StoryLine>();
    // The saga once more, with its real attempt numbers; the world has taken them out.
    private SagaState _memory = null!, _stored = null!;
    // The world puts twins into an order of its own: which step of the saga stands at each place there.
    private int[] _order = [];

    /// <summary>What is broken in the end, in the saga's own names; null: nothing.</summary>
    public string? Broken { get; private set; }

    public ImmutableArray<StoryLine> Tell(IEnumerable<int> deeds)
    {
        world.Start();
        _order = [.. world.Order];
        var here = new Explored { Steps = new uint[world.Saga.Steps.Length] };
        world.Next.CopyTo(ref here);
        var start = Decider.Start(world.Saga, new SagaState { Id = new SagaId("explored"), Definition = "", DefinitionVersion = 0, Input = Payload.Null }, Now);
        (_memory, _stored) = (start.State, start.State);
        Line($"start → {Follows(start, SagaStatus.Running)}", "engine", "engine");
        foreach (var code in deeds)
        {
            var (deed, step, detail) = ((Deed)(code & 63), code >> 6 & 255, code >> 14);
            Tell(here, deed, step, detail);
            world.Redo(here, deed, step, detail);
            Broken = Named(world.Broken);
            if (Broken is not null) Remark($"! {Broken}", "engine", "engine");
            _order = [.. world.Order.Select(place => _order[place])];
            world.Next.CopyTo(ref here);
        }
        return _lines.ToImmutable();
    }

    private void Tell(in Explored here, Deed deed, int s, int detail)
    {
        var step = world.Saga.Steps[_order[s]];
        switch (deed)
        {
            case Deed.Hear or Deed.HearTwice:
                if (deed == Deed.HearTwice) Remark($"the reply of {step.Name} arrives, and will again", "network", "engine", step);
                Happen(ReplyWords(step, detail), EventOf(here.Memory, s, detail), step.Name, step);
                break;
            case Deed.LoseReply: Remark($"a reply of {step.Name} is lost: {Said(detail)}", "network", "engine", step); break;
            case Deed.HearAndDie:
                Happen(ReplyWords(step, detail), EventOf(here.Memory, s, detail), step.Name, step, commit: true);
                Die("the node dies after this commit, and nothing of it was sent");
                break;
            case Deed.Deliver or Deed.DeliverTwice:
                Remark($"{step.Name} gets {Asked(detail >> 4)}{((Handling)(detail & 15)) switch
                {
                    Handling.Ok => "",
                    Handling.Refuse => ", refuses",
                    Handling.FailBefore => ", fails before it took effect",
                    Handling.FailAfter => ", takes effect, then fails",
                    _ => ", is busy",
                }}{(deed == Deed.DeliverTwice ? "; the same will arrive again" : "")}", "engine", step.Name, step);
                break;
            case Deed.LoseCommand: Remark($"{Asked(detail)} to {step.Name} is lost", "network", step.Name, step); break;
            case Deed.TimeOut: Happen($"{step.Name} times out", Timer(step, timeout: true), "engine", step); break;
            case Deed.RetryDue: Happen($"{step.Name} is due", Timer(step, timeout: false), "engine", step); break;
            case Deed.SagaTimeOut: Happen("saga times out", new SagaEvent.SagaTimedOut(), "engine", null); break;
            case Deed.Cancel: Happen("cancel", new SagaEvent.CancelRequested("explored", "operator"), "operator", null); break;
            case Deed.Pause: Happen("pause", new SagaEvent.PauseRequested("explored", "operator"), "operator", null); break;
            case Deed.Resume: Happen("resume", new SagaEvent.ResumeRequested("explored", "operator"), "operator", null); break;
            case Deed.ActAndDie:
                var what = world.Decisions.EventFor(_memory, world.Decisions.Moved(detail, _order))!;
                Happen(what switch { SagaEvent.AttemptTimedOut => $"{step.Name} times out", SagaEvent.RetryDue => $"{step.Name} is due", SagaEvent.SagaTimedOut => "saga times out", _ => "cancel" },
                    what is SagaEvent.AttemptTimedOut ? Timer(step, true) : what is SagaEvent.RetryDue ? Timer(step, false) : what, "engine", step, commit: true);
                Die("the node dies after this commit, and nothing of it was sent");
                break;
            case Deed.StartAndDie: Die("the node dies after this commit, and nothing of it was sent"); break;
            case Deed.Flush:
                Remark("what was heard becomes durable", "engine", "engine");
                _stored = _memory;
                break;
            case Deed.Crash: Die("the node dies; what was not durable is forgotten"); break;
            case Deed.TakeOver: Die("another node takes the saga over; the one before goes on with what it remembers"); break;
            case Deed.StaleHear: Remark($"the node that was taken over from hears of {step.Name}: {Said(detail)}", step.Name, "engine", step); break;
            case Deed.StaleTimer: Remark($"at the node that was taken over from, {step.Name} is due", "engine", "engine", step); break;
            case Deed.StaleFlush: Remark("the node that was taken over from writes what it heard", "engine", "engine"); break;
        }
    }

    private SagaEvent EventOf(int memory, int s, int reply)
    {
        var happened = (SagaEvent.Replied)world.Decisions.EventFor(world.Decisions.State(memory), ExplorerDecisions.Hears(s, reply))!;
        var attempt = Math.Max(_memory.Steps[_order[s]].Attempt, 1);
        return happened with { Step = world.Saga.Steps[_order[s]].Name, Attempt = reply == Cell.ForwardRefusedOld ? attempt - 1 : attempt };
    }

    private string? Named(string? broken) => broken is null ? null : string.Join('\'', broken.Split('\'').Select(word => world.Saga.Find(word) is { } step ? world.Saga.Steps[_order[step.Index]].Name : word));

    private SagaEvent Timer(StepDefinition step, bool timeout)
    {
        var now = _memory.Steps[step.Index];
        var phase = now.Phase ?? step.ForwardPhase;
        return timeout ? new SagaEvent.AttemptTimedOut(step.Name, phase, now.Attempt) : new SagaEvent.RetryDue(step.Name, phase, now.Attempt);
    }

    private void Happen(string what, SagaEvent happened, string from, StepDefinition? step, bool commit = false)
    {
        var before = _memory;
        var decision = Decider.Decide(world.Saga, before, happened, Now);
        _memory = decision.State;
        if (commit || decision.IsUrgent(before, happened)) _stored = _memory;
        Line($"{what} → {(decision.Refused is null ? Follows(decision, before.Status) : "conflict")}", from, "engine", step, (happened as SagaEvent.Replied)?.Phase);
    }

    private void Die(string how)
    {
        Remark(how, "engine", "engine");
        _memory = _stored;
        if (!_memory.Ended) Happen("recovered", new SagaEvent.Recovered(), "engine", null);
    }

    private string ReplyWords(StepDefinition step, int reply)
    {
        var now = _memory.Steps[step.Index];
        var phase = reply switch { Cell.ConfirmOk or Cell.ConfirmError => Phase.Confirm, Cell.UndoOk or Cell.UndoError => step.UndoPhase, _ => step.ForwardPhase };
        var late = reply == Cell.ForwardRefusedOld ? $"{phase.Word()}#{Math.Max(now.Attempt, 1) - 1} " : now.Phase == phase ? "" : $"{phase.Word()}#1 ";
        return $"{step.Name} {late}{Said(reply)}";
    }

    private static string Said(int reply) => reply switch
    {
        Cell.ForwardOk or Cell.ConfirmOk or Cell.UndoOk => "ok",
        Cell.ForwardRefusedNow or Cell.ForwardRefusedOld => "refused",
        Cell.ForwardRefusedInDoubt => "refused in doubt",
        Cell.ForwardBusy => "busy",
        Cell.ForwardBusyInDoubt => "busy in doubt",
        _ => "error",
    };

    private static string Asked(int command) => command switch
    {
        Cell.ForwardNow => "its command",
        Cell.ForwardOld => "its command of an earlier attempt",
        Cell.ConfirmNow => "the confirm",
        Cell.ConfirmOld => "a confirm of an earlier attempt",
        Cell.UndoNow => "the undo",
        Cell.UndoOld => "an undo of an earlier attempt",
        Cell.ProbeNow => "the question what it did",
        _ => "an earlier question what it did",
    };

    private static string Follows(Decision decision, SagaStatus before)
    {
        var sends = string.Join(", ", decision.Effects.OfType<Effect.Send>().Select(send => $"{send.Phase.Word()} {send.Step}{(send.Attempt > 1 ? $"#{send.Attempt}" : "")}"));
        var status = decision.State.Status == before ? "" : decision.State.Status.ToString();
        return (sends, status) switch { ("", "") => "-", (_, "") => sends, ("", _) => status, _ => $"{sends}; {status}" };
    }

    private void Line(string text, string from, string to, StepDefinition? step = null, Phase? phase = null) => _lines.Add(new StoryLine(text, from, to, step?.Name, phase));

    private void Remark(string text, string from, string to, StepDefinition? step = null) => _lines.Add(new StoryLine($"# {text}", from, to, step?.Name));
}
