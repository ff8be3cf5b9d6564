namespace Sagas;

/// <summary>What the flow's methods draw: the steps in order of writing, with what each comes after.</summary>
internal sealed class FlowGraph(Saga saga)
{
    public Saga Saga { get; } = saga;
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
    private readonly FlowGraph _graph;
    private readonly StepDraft? _reader;

    /// <summary><paramref name="reader"/> is the step that the mapping is for; null: the saga's end, which comes after every step.</summary>
    internal Context(SagaData data, FlowGraph graph, StepDraft? reader) => (_data, _graph, _reader) = (data, graph, reader);

    /// <summary>The saga's input.</summary>
    public TInput Input => _data.Input.Read<TInput>()!;

    /// <summary>The saga's id.</summary>
    public string SagaId => _data.Id.Value;

    /// <summary>The result of a step that this one comes after.</summary>
    /// <exception cref="InvalidOperationException">This one does not come after the step, or the step has no result.</exception>
    public TResult Get<TResult>(Step<TResult> step)
    {
        ArgumentNullException.ThrowIfNull(step);
        // A handle that leaked out of its saga or its branch would read another step's result, or one that is not there yet.
        if (step.Draft.Graph.Saga != _graph.Saga)
            throw new MappingFaultException($"{Reader} reads step '{step.Draft.Name}' of another saga. Read only handles that this Define made.");
        if (_reader is not null && !_reader.Before.Contains(step.Draft.Index))
            throw new MappingFaultException($"{Reader} reads step '{step.Draft.Name}', which does not come before it. Put it after '{step.Draft.Name}', or read another step.");
        var result = _data.ResultOf(step.Draft.Index)
            ?? throw new InvalidOperationException($"Step '{step.Draft.Name}' has no result.");
        return result.Read<TResult>()!;
    }

    private string Reader => _reader is null ? "the saga's result" : $"step '{_reader.Name}'";
}

/// <summary>Draws a saga's steps. Each call adds one after those before it; <c>Parallel</c> lets branches run side by side.</summary>
/// <typeparam name="TInput">The saga's input.</typeparam>
public sealed class Flow<TInput>
{
    private readonly FlowGraph _graph;
    private readonly bool _isBranch;
    private int[] _tails;
    private bool _forked, _joined;

    internal Flow(FlowGraph graph) : this(graph, [], isBranch: false) { }

    private Flow(FlowGraph graph, int[] tails, bool isBranch) => (_graph, _tails, _isBranch) = (graph, tails, isBranch);

    /// <summary>The saga turns back when it has not passed its commit point within <paramref name="total"/> of its start. Default: no limit.</summary>
    public Flow<TInput> Timeout(TimeSpan total)
    {
        if (total <= TimeSpan.Zero || total > DefinitionDrawing.Longest)
            _graph.Faults.Add($"the saga's timeout is {total}. Give a time longer than zero and of at most {DefinitionDrawing.Longest.Days} days.");
        if (_isBranch) _graph.Faults.Add("Timeout is called inside a branch of Parallel, but it is the whole saga's. Call it on the saga's own flow.");
        _graph.Timeout = total;
        return this;
    }

    /// <summary>A step that is tried, and confirmed or cancelled once the saga's outcome is known.</summary>
    /// <param name="command">Maps the saga's data to the Try. Confirm and Cancel belong to the participant.</param>
    public TccStep<TReservation> Tcc<TTry, TReservation>(Func<Context<TInput>, ITryCommand<TTry, TReservation>> command)
        where TTry : ITryCommand<TTry, TReservation>
    {
        ArgumentNullException.ThrowIfNull(command);
        return new TccStep<TReservation>(Add(StepKind.Tcc, typeof(TTry), typeof(TReservation), command));
    }

    /// <summary>A step that is done at once. Say how it is undone (<c>Compensate</c>), that nothing need be (<c>ReadOnly</c>), or that it is the point of no return (<c>Pivot</c>); after the pivot it says nothing.</summary>
    /// <param name="command">Maps the saga's data to the command.</param>
    public PlainStep<TInput, TResult> Step<TCommand, TResult>(Func<Context<TInput>, ICommand<TCommand, TResult>> command)
        where TCommand : ICommand<TCommand, TResult>
    {
        ArgumentNullException.ThrowIfNull(command);
        return new PlainStep<TInput, TResult>(Add(StepKind.Do, typeof(TCommand), typeof(TResult), command));
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
        if (_isBranch || _forked) _graph.Faults.Add("Complete is called inside a branch of Parallel. Call it on the saga's own flow, after Parallel.");
        if (_graph.Result is not null) _graph.Faults.Add("Complete is called twice. A saga has one end.");
        var graph = _graph;
        graph.Result = data => Payload.From(result(new(data, graph, null)));
        return new SagaEnd<TResult>(graph);
    }

    private StepDraft Add(StepKind kind, Type command, Type result, Func<Context<TInput>, object> map)
    {
        var step = new StepDraft(_graph, kind, command, result, _tails) { Misplaced = Misplaced() };
        step.Map = data => step.Made(command, map(new(data, step.Graph, step)));
        _graph.Steps.Add(step);
        _tails = [step.Index];
        return step;
    }

    /// <summary>Why nothing may be added to this flow now, or null.</summary>
    private string? Misplaced() =>
        _graph.Result is not null ? "is added after Complete. Complete comes last."
        : _forked ? "is added to the outer flow inside a branch of Parallel. Add it to the branch's own flow."
        : _joined ? "is added to a branch of Parallel that has ended. Add it inside the branch, or to the saga's flow after Parallel."
        : null;

    /// <summary>Branches start where the flow stands; joined, the flow stands at all their ends.</summary>
    private readonly struct Fork
    {
        private readonly Flow<TInput> _flow;
        private readonly List<int> _ends = [];

        public Fork(Flow<TInput> flow)
        {
            _flow = flow;
            if (flow.Misplaced() is { } why) flow._graph.Faults.Add($"a Parallel {why}");
            flow._forked = true;
        }

        public Step<T> Branch<T>(Func<Flow<TInput>, Step<T>> draw)
        {
            ArgumentNullException.ThrowIfNull(draw);
            var graph = _flow._graph;
            var first = graph.Steps.Count;
            var branch = new Flow<TInput>(graph, _flow._tails, isBranch: true);
            var step = draw(branch);
            branch._joined = true;
            if (step is null)
                graph.Faults.Add("a branch of Parallel returns nothing. Return a step of the branch's own flow.");
            else if (step.Draft.Graph != graph || step.Draft.Index < first)
                graph.Faults.Add($"a branch of Parallel returns step '{step.Draft.Name}', which is not its own. Return a step of the branch's own flow.");
            _ends.AddRange(branch._tails);
            return step!;
        }

        public void Join()
        {
            _flow._tails = [.. _ends.Distinct()];
            _flow._forked = false;
        }
    }
}
