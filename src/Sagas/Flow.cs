namespace Sagas;

/// <summary>What the flow's methods draw: the steps in order of writing, with what each comes after.</summary>
internal sealed class FlowGraph
{
    public List<StepDraft> Steps { get; } = [];
    public List<string> Faults { get; } = [];
    public TimeSpan? Timeout { get; set; }
    public Func<SagaData, Payload>? Result { get; set; }
}

/// <summary>What a mapping may read: the saga's input and the results of steps that come before.</summary>
/// <typeparam name="TInput">The saga's input.</typeparam>
public readonly struct Context<TInput>
{
    private readonly SagaData _data;

    internal Context(SagaData data) => _data = data;

    /// <summary>The saga's input.</summary>
    public TInput Input => _data.Input.Read<TInput>()!;

    /// <summary>The saga's id.</summary>
    public string SagaId => _data.Id.Value;

    /// <summary>The result of a step that this one comes after.</summary>
    /// <exception cref="InvalidOperationException">The step has no result yet: this one does not come after it.</exception>
    public TResult Get<TResult>(Step<TResult> step)
    {
        ArgumentNullException.ThrowIfNull(step);
        var result = _data.ResultOf(step.Draft.Index)
            ?? throw new InvalidOperationException($"Step '{step.Draft.Name}' has no result here: a mapping reads only steps that come before its own.");
        return result.Read<TResult>()!;
    }
}

/// <summary>Draws a saga's steps. Each call adds one after those before it; <c>Parallel</c> lets branches run side by side.</summary>
/// <typeparam name="TInput">The saga's input.</typeparam>
public sealed class Flow<TInput>
{
    private readonly FlowGraph _graph;
    private List<int> _tails;

    internal Flow(FlowGraph graph) : this(graph, []) { }

    private Flow(FlowGraph graph, List<int> tails) => (_graph, _tails) = (graph, tails);

    /// <summary>The saga turns back when it has not passed its commit point within <paramref name="total"/> of its start. Default: no limit.</summary>
    public Flow<TInput> Timeout(TimeSpan total)
    {
        if (total <= TimeSpan.Zero) _graph.Faults.Add($"The saga's timeout is {total}. Give a time longer than zero.");
        _graph.Timeout = total;
        return this;
    }

    /// <summary>A step that is tried, and confirmed or cancelled once the saga's outcome is known.</summary>
    /// <param name="command">Maps the saga's data to the Try. Confirm and Cancel belong to the participant.</param>
    public TccStep<TReservation> Tcc<TTry, TReservation>(Func<Context<TInput>, ITryCommand<TTry, TReservation>> command)
        where TTry : ITryCommand<TTry, TReservation>
    {
        ArgumentNullException.ThrowIfNull(command);
        return new TccStep<TReservation>(Add(StepKind.Tcc, typeof(TTry), data => Payload.From((object)command(new(data)))));
    }

    /// <summary>A step that is done at once. Say how it is undone (<c>Compensate</c>), that nothing need be (<c>ReadOnly</c>), or that it is the point of no return (<c>Pivot</c>); after the pivot it says nothing.</summary>
    /// <param name="command">Maps the saga's data to the command.</param>
    public PlainStep<TInput, TResult> Step<TCommand, TResult>(Func<Context<TInput>, ICommand<TCommand, TResult>> command)
        where TCommand : ICommand<TCommand, TResult>
    {
        ArgumentNullException.ThrowIfNull(command);
        return new PlainStep<TInput, TResult>(Add(StepKind.Do, typeof(TCommand), data => Payload.From((object)command(new(data)))));
    }

    /// <summary>Two branches side by side; what follows waits for both.</summary>
    public (Step<T1>, Step<T2>) Parallel<T1, T2>(Func<Flow<TInput>, Step<T1>> one, Func<Flow<TInput>, Step<T2>> two)
    {
        var fork = new Fork(this);
        var all = (fork.Branch(one), fork.Branch(two));
        fork.Join();
        return all;
    }

    /// <summary>Three branches side by side; what follows waits for all.</summary>
    public (Step<T1>, Step<T2>, Step<T3>) Parallel<T1, T2, T3>(Func<Flow<TInput>, Step<T1>> one, Func<Flow<TInput>, Step<T2>> two,
        Func<Flow<TInput>, Step<T3>> three)
    {
        var fork = new Fork(this);
        var all = (fork.Branch(one), fork.Branch(two), fork.Branch(three));
        fork.Join();
        return all;
    }

    /// <summary>Four branches side by side; what follows waits for all.</summary>
    public (Step<T1>, Step<T2>, Step<T3>, Step<T4>) Parallel<T1, T2, T3, T4>(Func<Flow<TInput>, Step<T1>> one, Func<Flow<TInput>, Step<T2>> two,
        Func<Flow<TInput>, Step<T3>> three, Func<Flow<TInput>, Step<T4>> four)
    {
        var fork = new Fork(this);
        var all = (fork.Branch(one), fork.Branch(two), fork.Branch(three), fork.Branch(four));
        fork.Join();
        return all;
    }

    /// <summary>The end: what the saga answers when it has completed.</summary>
    public SagaEnd<TResult> Complete<TResult>(Func<Context<TInput>, TResult> result)
    {
        ArgumentNullException.ThrowIfNull(result);
        _graph.Result = data => Payload.From(result(new(data)));
        return new SagaEnd<TResult>(_graph);
    }

    private StepDraft Add(StepKind kind, Type command, Func<SagaData, Payload> map)
    {
        var step = new StepDraft(_graph, _graph.Steps.Count, kind, command, map, [.. _tails]);
        _graph.Steps.Add(step);
        _tails = [step.Index];
        return step;
    }

    /// <summary>Branches start where the flow stands; joined, the flow stands at all their ends.</summary>
    private readonly struct Fork(Flow<TInput> flow)
    {
        private readonly List<int> _ends = [];

        public Step<T> Branch<T>(Func<Flow<TInput>, Step<T>> draw)
        {
            var branch = new Flow<TInput>(flow._graph, flow._tails);
            var step = draw(branch);
            if (step is null || step.Draft.Graph != flow._graph)
                flow._graph.Faults.Add($"A branch of Parallel returns {(step is null ? "nothing" : $"step '{step.Draft.Name}' of another saga")}. Return a step of the branch's own flow.");
            _ends.AddRange(branch._tails);
            return step!;
        }

        public void Join() => flow._tails = [.. _ends.Distinct()];
    }
}
