using Sagas.Participants;
using Sagas.Runtime;

namespace Sagas.Testing.Simulator;

// The ground truth: what participants really did, what the engine really said. It outlives every process, knows nothing of the engine's own state, and is
// held against that at the end. What can be seen to be wrong while it happens is reported at once.

/// <summary>The promises, checked on what happened.</summary>
internal sealed class Audit(World world)
{
    private readonly SortedDictionary<string, Ledger> _ledgers = new(StringComparer.Ordinal);
    private readonly List<string> _faults = [];
    private readonly List<Operation> _operations = [];
    // How many sagas know that an operation asked them, by its reason.
    private readonly Dictionary<string, int> _asked = [];

    public IReadOnlyList<string> Faults => _faults;

    /// <summary>The sagas concerned, for the story.</summary>
    public SortedSet<string> Concerned { get; } = new(StringComparer.Ordinal);

    public int Completed { get; private set; }

    public int Compensated { get; private set; }

    /// <summary>How many sagas went from one node to another because of its lease.</summary>
    public int TakenOver { get; private set; }

    public void Fault(string promise, string saga, string what)
    {
        Concerned.Add(saga);
        if (_faults.Count < 20) _faults.Add($"{promise}: saga '{saga}': {what}.");
        world.Trace("broken " + promise, saga, _faults.Count);
    }

    // ── Clients ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    public void Requested(StartRequest request) => _ledgers[request.Id!.Value.Value] = new Ledger(request);

    public void Acknowledged(StartResult result)
    {
        _ledgers[result.Saga!.Id.Value].Acknowledged = true;
        Seen(result.Saga);
    }

    public void Cancelled(SagaId id) => _ledgers[id.Value].Cancelled = true;

    /// <summary>An operator was told that an operation has begun.</summary>
    public void Begun(Operation operation) => _operations.Add(operation);

    /// <summary>A client was shown the saga.</summary>
    public void Seen(SagaState saga)
    {
        var ledger = _ledgers[saga.Id.Value];
        if (ledger.Seen is { } before)
        {
            if (saga.Version < before.Version) Fault("P11", saga.Id.Value, $"version {saga.Version} is shown after version {before.Version} was");
            if (before.Ended && (saga.Version != before.Version || saga.Course != before.Course)) Fault("P10", saga.Id.Value, $"it had ended as {before.Course} and is {saga.Course}");
        }
        if (ledger.Seen is null || saga.Version > ledger.Seen.Version) ledger.Seen = saga;
    }

    // ── Engine ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>On a shared store also by which node, and from which.</summary>
    public void Committed(SagaState saga, string? node = null, string? from = null)
    {
        if (!_ledgers.TryGetValue(saga.Id.Value, out var ledger))
        {
            Fault("P6", saga.Id.Value, "it was stored and nobody asked for it");
            return;
        }
        if (ledger.Durable is { Ended: true } ended) Fault("P10", saga.Id.Value, $"it had ended as {ended.Course} and is committed again as {saga.Course}");
        if (ledger.Durable is { } before && saga.Version <= before.Version) Fault("P12", saga.Id.Value, $"version {saga.Version} is committed over version {before.Version}");
        if (node is not null && ledger.Owner is { } owner && owner != from) Fault("P12", saga.Id.Value, $"version {saga.Version} is committed by '{node}' as '{from}'s, and it is '{owner}'s");
        ledger.Durable = saga;
        if (node is not null) ledger.Owner = saga.Ended ? null : node;
        world.Trace(Word(saga.Status), saga.Id.Value, saga.Version);
    }

    /// <summary>A node has taken over the saga of another.</summary>
    public void Claimed(SagaState saga, string node)
    {
        var ledger = _ledgers[saga.Id.Value];
        if (ledger.Owner != node) TakenOver++;
        ledger.Owner = node;
        world.Trace("taken by " + node, saga.Id.Value, saga.Version);
    }

    /// <summary>A command leaves: the commit that names it must be durable.</summary>
    public void Sent(CommandItem item)
    {
        var ledger = _ledgers[item.Saga];
        world.Trace("ask", item.Key, item.Attempt);
        if (ledger.Durable is not { } saga)
        {
            Fault("P11", item.Saga, $"{item.Phase.Word()} of '{item.Step}' is sent before the saga is durable");
            return;
        }
        var step = saga.Steps[Definition(saga).Find(item.Step)!.Index];
        var isSecond = item.Phase is Phase.Confirm or Phase.Cancel or Phase.Compensate;
        var inSecond = step.Status is StepStatus.Confirming or StepStatus.Confirmed or StepStatus.Cancelling or StepStatus.Cancelled or StepStatus.Compensating or StepStatus.Compensated;
        if (step.Status == StepStatus.Pending || (isSecond && !inSecond) || (step.Phase == item.Phase && item.Attempt > step.Attempt))
            Fault("P11", item.Saga, $"{item.Phase.Word()} of '{item.Step}', attempt {item.Attempt}, is sent while it is durable as {step.Status}, attempt {step.Attempt}");
    }

    // ── Participants ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>A handler is called.</summary>
    public void Called(CommandContext context)
    {
        var ledger = _ledgers[context.Saga];
        world.Trace("call", context.Key, context.Attempt);
        if (ledger.Answers.ContainsKey((context.Step, context.Phase))) Fault("P8", context.Saga, $"{context.Phase.Word()} of '{context.Step}' reaches its handler again after it was answered");
        if (context.Phase is Phase.Try or Phase.Do && ledger.IsUndone(context.Step)) Fault("P9", context.Saga, $"{context.Phase.Word()} of '{context.Step}' reaches its handler after it was undone");
    }

    /// <summary>A handler is called to undo.</summary>
    public void Undoing(CommandContext context, Phase first)
    {
        if (!_ledgers[context.Saga].Begun.Contains((context.Step, first)))
            Fault("P8", context.Saga, $"{context.Phase.Word()} of '{context.Step}' reaches its handler, which cannot have heard of its {first.Word()}");
    }

    /// <summary>A barrier notes that a first phase begins: from then on the handler may hear that it is undone.</summary>
    public void Begun(BarrierRow row)
    {
        if (row.Forward == BarrierForward.Started) _ledgers[row.Saga].Begun.Add((row.Step, row.IsDo ? Phase.Do : Phase.Try));
    }

    public bool IsDone(CommandContext context) => _ledgers[context.Saga].Effects.Contains((context.Step, context.Phase));

    public void Done(CommandContext context)
    {
        var ledger = _ledgers[context.Saga];
        ledger.Effects.Add((context.Step, context.Phase));
        world.Trace("effect", context.Key, 0);
        if (context.Phase is Phase.Try or Phase.Do && ledger.Effects.Any(effect => effect.Step == context.Step && effect.Phase is Phase.Cancel or Phase.Compensate))
            Fault("P9", context.Saga, $"{context.Phase.Word()} of '{context.Step}' takes effect after it was undone");
    }

    /// <summary>A reply leaves a participant: what it says must be remembered there for good.</summary>
    public void Answered(ReplyItem reply)
    {
        world.Trace(reply.Outcome.Word(), Wire.Key(reply.Saga, reply.Step, reply.Phase), reply.Attempt);
        if (reply.Outcome is Outcome.Error or Outcome.Busy) return;
        var isForward = reply.Phase is Phase.Try or Phase.Do;
        if (reply.Outcome == Outcome.Refused && !isForward) return;
        var ledger = _ledgers[reply.Saga];
        var answer = (reply.Outcome, isForward && reply.Outcome == Outcome.Ok ? reply.Payload : null);
        if (!ledger.Answers.TryGetValue((reply.Step, reply.Phase), out var before)) ledger.Answers[(reply.Step, reply.Phase)] = answer;
        else if (before.Outcome != answer.Outcome || !Equals(before.Payload, answer.Item2))
            Fault("P8", reply.Saga, $"{reply.Phase.Word()} of '{reply.Step}' was answered {before.Outcome.Word()} {before.Payload} and now {reply.Outcome.Word()} {reply.Payload}");
    }

    // ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>Everything must have ended and everything must add up.</summary>
    public async Task FinishAsync(ISagaStore store)
    {
        try
        {
            await FinishReadingAsync(store);
        }
        catch (StoreUnavailableException e)
        {
            Fault("P6", "all", $"what was stored cannot be read: {e.Message}");
        }
    }

    private async Task FinishReadingAsync(ISagaStore store)
    {
        var stored = new HashSet<string>(StringComparer.Ordinal);
        string? cursor = null;
        do
        {
            var page = await store.ListAsync(new SagaFilter(), 500, cursor, CancellationToken.None);
            foreach (var saga in page.Items)
                if (!stored.Add(saga.Id.Value) || !_ledgers.ContainsKey(saga.Id.Value)) Fault("P6", saga.Id.Value, "it is listed twice, or nobody asked for it");
            cursor = page.Next;
        }
        while (cursor is not null);
        foreach (var (id, ledger) in _ledgers)
        {
            var saga = await store.FindAsync(new SagaId(id), CancellationToken.None);
            if ((saga is not null) != stored.Contains(id)) Fault("P6", id, "it is listed and not found, or found and not listed");
            if (saga is not null) await CheckAsync(store, ledger, saga);
            else if (ledger.Acknowledged) Fault("P6", id, "its start was acknowledged, and it is not there");
            else if (ledger.Effects.Count > 0) Fault("P6", id, "a participant acted for it, and it is not there");
        }
        var operations = await store.OperationsAsync(CancellationToken.None);
        foreach (var begun in _operations) CheckOperation(begun, operations.FirstOrDefault(operation => operation.Id == begun.Id));
    }

    /// <summary>All that matched were asked, through whatever crashes, and those that are said to have done it know of it.</summary>
    private void CheckOperation(Operation begun, Operation? stored)
    {
        if (stored is null) Fault("P6", begun.Reason, "an operator was told that the operation had begun, and it is not there");
        else if (stored.Status != OperationStatus.Done) Fault("P7", begun.Reason, $"the operation has not ended: {stored.Status}, {stored.Done} done, {stored.Failed} failed of {stored.Matched}, at '{stored.Cursor}' on {stored.Node}");
        else if (stored.Done + stored.Failed < begun.Matched) Fault("P6", begun.Reason, $"the operation matched {begun.Matched} sagas and asked {stored.Done + stored.Failed}");
        else if (stored.Done > _asked.GetValueOrDefault(begun.Reason)) Fault("P11", begun.Reason, $"the operation says that {stored.Done} sagas did it, and {_asked.GetValueOrDefault(begun.Reason)} know of it");
    }

    private async Task CheckAsync(ISagaStore store, Ledger ledger, SagaState saga)
    {
        var id = saga.Id.Value;
        Seen(saga);
        if (ledger.Durable is { } durable && saga.Version < durable.Version) Fault("P6", id, $"version {durable.Version} was durable, and it is back at {saga.Version}");
        if (saga.Definition != ledger.Request.Definition || !saga.Input.Equals(ledger.Request.Input)) Fault("P8", id, "it is not what was asked for");
        if (!saga.Ended)
        {
            var told = await store.HistoryAsync(saga.Id, 0, int.MaxValue, CancellationToken.None) ?? [];
            Fault("P7", id, $"it has not ended: {saga.Status}{(saga.Paused ? ", paused" : "")}; {string.Join(", ", saga.Steps.Select((step, i) => $"{Definition(saga).Steps[i].Name} {step.Status}{(step.Due is { } due ? $" due {due:HH:mm:ss}" : "")}"))}; "
                + $"its history: {string.Join(", ", told.Select(entry => $"{entry.Time:HH:mm:ss.fff} {entry.Event} {entry.Step} {entry.Phase?.Word()} {entry.Outcome?.Word()} {entry.Detail}{entry.Reason}"))}");
            return;
        }
        if (saga.Course == SagaStatus.Completed) Completed++;
        else Compensated++;
        if (ledger.Cancelled && saga.Course != SagaStatus.Compensated) Fault("P6", id, $"its cancel was accepted, and it is {saga.Course}");
        var history = await store.HistoryAsync(saga.Id, 0, int.MaxValue, CancellationToken.None);
        if (history is null || !history.Select(entry => entry.Seq).SequenceEqual(Enumerable.Range(1, saga.HistoryCount))) Fault("P6", id, "its history has gaps");
        foreach (var reason in history?.Where(entry => entry.By == "operator").Select(entry => entry.Reason).OfType<string>().Distinct() ?? []) _asked[reason] = _asked.GetValueOrDefault(reason) + 1;
        if (saga.Course != SagaStatus.Compensated && history?.Any(entry => entry.Event == "cancel-requested") == true) Fault("P6", id, $"its cancel is in its history, and it is {saga.Course}");
        CheckEffects(Definition(saga), ledger, saga);
    }

    private void CheckEffects(SagaDefinition definition, Ledger ledger, SagaState saga)
    {
        var id = saga.Id.Value;
        var first = definition.Steps.Select(step => ledger.PlaceOf(step.Name, step.Kind == StepKind.Tcc ? Phase.Try : Phase.Do)).ToArray();
        var kept = definition.Steps.Select(step => ledger.PlaceOf(step.Name, Phase.Confirm)).ToArray();
        var undone = definition.Steps.Select(step => ledger.PlaceOf(step.Name, step.Kind == StepKind.Tcc ? Phase.Cancel : Phase.Compensate)).ToArray();
        var completed = saga.Course == SagaStatus.Completed;
        if (!completed && saga.Course != SagaStatus.Compensated) Fault("P7", id, $"it ended as {saga.Course}");
        foreach (var step in definition.Steps)
        {
            var i = step.Index;
            foreach (var before in step.After)
                if (first[i] is { } at && !(first[before] < at)) Fault("P5", id, $"'{step.Name}' took effect before '{definition.Steps[before].Name}', which it comes after");
            if (undone[i] is { } undoneAt)
                foreach (var after in definition.Undoers[i])
                    if (first[after] is not null && !(undone[after] < undoneAt)) Fault("P4", id, $"'{step.Name}' was undone before '{definition.Steps[after].Name}', which came after it");
            if (kept[i] is { } keptAt && (first.Where((_, other) => definition.Steps[other].Kind == StepKind.Tcc).Any(tried => !(tried < keptAt)) || (definition.Pivot is { } pivot && !(first[pivot] < keptAt))))
                Fault("P3", id, $"'{step.Name}' was confirmed before every try and the pivot were done");
            if (completed)
            {
                if (first[i] is null) Fault("P2", id, $"it completed, and '{step.Name}' was never done");
                if (step.Kind == StepKind.Tcc && kept[i] is null) Fault("P2", id, $"it completed, and '{step.Name}' was never confirmed");
                if (undone[i] is not null) Fault("P1", id, $"it completed, and '{step.Name}' was undone");
            }
            else
            {
                if (kept[i] is not null) Fault("P1", id, $"it was compensated, and '{step.Name}' was confirmed");
                if (first[i] is not null && undone[i] is null && !step.ReadOnly) Fault("P2", id, $"it was compensated, and '{step.Name}' was {(step.Pivot ? "the pivot and done" : "never undone")}");
            }
        }
    }

    // ToString of an enum is slow, and this is called at every commit.
    private static string Word(SagaStatus status) => Words[(int)status];

    private static readonly string[] Words = [.. Enum.GetNames<SagaStatus>().Select(name => "durable as " + name)];

    private SagaDefinition Definition(SagaState saga) => world.Definitions.Find(saga.Definition, saga.DefinitionVersion)!;

    /// <summary>One saga as its customer and its participants know it.</summary>
    private sealed class Ledger(StartRequest request)
    {
        private readonly List<(string Step, Phase Phase)> _effects = [];

        public StartRequest Request { get; } = request;
        public bool Acknowledged { get; set; }
        public bool Cancelled { get; set; }
        public SagaState? Seen { get; set; }
        public SagaState? Durable { get; set; }

        /// <summary>The node whose saga it is, on a shared store.</summary>
        public string? Owner { get; set; }
        public HashSet<(string Step, Phase Phase)> Begun { get; } = [];
        public Dictionary<(string Step, Phase Phase), (Outcome Outcome, Payload? Payload)> Answers { get; } = [];

        /// <summary>What took effect, each once, in order.</summary>
        public List<(string Step, Phase Phase)> Effects => _effects;

        public bool IsUndone(string step) => Answers.ContainsKey((step, Phase.Cancel)) || Answers.ContainsKey((step, Phase.Compensate));

        public int? PlaceOf(string step, Phase phase) => _effects.IndexOf((step, phase)) is >= 0 and var place ? place : null;
    }
}
