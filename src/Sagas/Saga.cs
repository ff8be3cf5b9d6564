namespace Sagas;

/// <summary>Names a saga definition and its version. A saga keeps the version it started with.</summary>
/// <param name="name">The definition's name: 1 to 64 of <c>A-Z a-z 0-9 _ -</c>.</param>
/// <param name="version">Raise it whenever the graph changes; default 1.</param>
[AttributeUsage(AttributeTargets.Class)]
public sealed class SagaAttribute(string name, int version = 1) : Attribute
{
    /// <summary>The definition's name.</summary>
    public string Name { get; } = name;

    /// <summary>The definition's version, from 1.</summary>
    public int Version { get; } = version;
}

/// <summary>A saga definition written in C#. Derive from <see cref="Saga{TInput,TResult}"/>.</summary>
public abstract class Saga
{
    private protected Saga() { }

    internal abstract Type InputType { get; }

    internal abstract Type ResultType { get; }

    internal abstract FlowGraph Draw();
}

/// <summary>A saga definition written in C#: a graph of steps, built once at startup. Lambdas in it only map data.</summary>
/// <typeparam name="TInput">What a saga is started with.</typeparam>
/// <typeparam name="TResult">What it ends with.</typeparam>
public abstract class Saga<TInput, TResult> : Saga
{
    internal override Type InputType => typeof(TInput);

    internal override Type ResultType => typeof(TResult);

    /// <summary>Draws the graph: call the flow's methods in order and return <see cref="Flow{TInput}.Complete{TResult}"/>.</summary>
    protected abstract SagaEnd<TResult> Define(Flow<TInput> saga);

    internal sealed override FlowGraph Draw()
    {
        var graph = new FlowGraph(this);
        var end = Define(new Flow<TInput>(graph));
        if (end is null || end.Graph != graph)
            graph.Faults.Add("Define returns no end of its own flow. Return saga.Complete(...).");
        return graph;
    }
}

/// <summary>The end of a saga's flow, made by <see cref="Flow{TInput}.Complete{TResult}"/>.</summary>
public sealed class SagaEnd<TResult>
{
    internal SagaEnd(FlowGraph graph) => Graph = graph;

    internal FlowGraph Graph { get; }
}
