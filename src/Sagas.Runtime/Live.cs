namespace Sagas.Runtime;

/// <summary>An unfinished saga in a worker's hands: what is durable, what has been decided beyond it, and what waits for the commit.</summary>
internal sealed class Live(SagaDefinition definition, SagaState state)
{
    private readonly List<HistoryEntry> _history = [];
    private readonly List<Effect> _effects = [];
    private readonly List<Mail> _batch = [];

    public SagaDefinition Definition { get; } = definition;

    /// <summary>As decided; may be ahead of what is durable.</summary>
    public SagaState State { get; private set; } = state;

    /// <summary>As committed; null: not yet.</summary>
    public SagaState? Durable { get; private set; }

    /// <summary>Something was decided that is not durable.</summary>
    public bool Dirty { get; private set; }

    /// <summary>It must be made durable now: a command waits for it, an answer, or the end.</summary>
    public bool Urgent { get; private set; }

    /// <summary>It waits for the flush.</summary>
    public bool IsLazy { get; set; }

    /// <summary>The start that made it; null: it came from the store.</summary>
    public StartMail? Starter { get; init; }

    /// <summary>It takes part in the batch under way.</summary>
    public bool InBatch { get; set; }

    /// <summary>Operators have been told that it is stuck.</summary>
    public bool KnownStuck { get; set; }

    /// <summary>A commit's outcome is unknown: read it again before the next decision.</summary>
    public bool Doubtful { get; set; }

    /// <summary>The node that owned it when it was read; null: this one. The next commit takes it over, and without one it is let go.</summary>
    public string? TakenFrom { get; private set; }

    /// <summary>It was read or written in the batch under way: what is said of it is so. Otherwise another node may have it by now.</summary>
    public bool Fresh { get; set; }

    /// <summary>Somebody is to be told how it stands, without a commit that shows that it still does.</summary>
    public bool Unsure => !Fresh && Durable is not null && _batch.Exists(mail => mail is StartMail || mail is RequestMail { Refused: not null });

    /// <summary>When the timer pump will call for it; null: not registered.</summary>
    public DateTimeOffset? Alarm { get; set; }

    /// <summary>As it was durable before the last commit, and that commit; until it is dispatched.</summary>
    public (SagaState? Before, SagaCommit? Commit) Last { get; private set; }

    public IReadOnlyList<Effect> Effects => _effects;

    /// <summary>The mail of the batch under way, to be answered after the commit, or decided again after a conflict.</summary>
    public IReadOnlyList<Mail> Batch => _batch;

    public static Live FromStore(SagaDefinition definition, SagaState stored) => new(definition, stored) { Durable = stored };

    public void Join(Mail mail) => _batch.Add(mail);

    public void Apply(Decision decision, bool urgent)
    {
        if (ReferenceEquals(decision.State, State)) return;
        State = decision.State;
        _history.AddRange(decision.History);
        _effects.AddRange(decision.Effects);
        Dirty = true;
        Urgent |= urgent;
    }

    /// <summary>What was decided must be durable with the batch under way.</summary>
    public void Hurry() => Urgent = true;

    public SagaCommit NextVersion()
    {
        State = State with { Version = (Durable?.Version ?? 0) + 1 };
        var commit = new SagaCommit(State, [.. _history]) { TakenFrom = TakenFrom };
        Last = (Durable, commit);
        return commit;
    }

    public void Committed()
    {
        Durable = State;
        TakenFrom = null;
        Fresh = true;
        _history.Clear();
        Dirty = Urgent = false;
    }

    public void Dispatched()
    {
        _effects.Clear();
        Last = default;
    }

    public void LeaveBatch()
    {
        _batch.Clear();
        InBatch = Fresh = false;
    }

    /// <summary>Forgets what was decided beyond <paramref name="stored"/>.</summary>
    public void Reset(SagaState stored, string? takenFrom = null)
    {
        State = stored;
        Durable = stored;
        TakenFrom = takenFrom;
        _history.Clear();
        _effects.Clear();
        Dirty = Urgent = Doubtful = false;
    }
}
