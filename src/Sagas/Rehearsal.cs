using System.Reflection;

namespace Sagas;

/// <summary>
/// Runs every mapping once on samples before any saga starts: which handles a lambda reads, and what it makes, cannot be seen from outside.
/// Only faults that no data can mend are reported; what the user's code throws on a sample says nothing and is passed over.
/// </summary>
internal static class Rehearsal
{
    public static IEnumerable<string> FaultsOf(Saga saga, FlowGraph graph)
    {
        var results = graph.Steps.Select(step => SampleOf(step.Result)).ToArray();
        var data = new SagaData(new SagaState
        {
            Id = new SagaId("rehearsal"), Definition = "", DefinitionVersion = 0, Input = SampleOf(saga.InputType),
            Steps = [.. results.Select(result => StepState.Fresh with { Result = result })],
        });
        foreach (var step in graph.Steps)
        {
            if (FaultOf(() => step.Map(data)) is { } fault) yield return fault;
            if (step.Compensate is { } undo && FaultOf(() => undo.Map(data, results[step.Index])) is { } other) yield return other;
        }
        if (graph.Result is { } end && FaultOf(() => end(data)) is { } last) yield return last;
    }

    private static string? FaultOf(Func<Payload> map)
    {
        try
        {
            map();
            return null;
        }
        catch (MappingFaultException e)
        {
            return e.Message;
        }
        catch (Exception)
        {
            return null;
        }
    }

    private static Payload SampleOf(Type type) => Payload.Sample(Sample(type, 4));

    /// <summary>A value of <paramref name="type"/> with something in it, as far as that can be made without knowing it; else its default.</summary>
    private static object? Sample(Type type, int depth)
    {
        try
        {
            if (type == typeof(string)) return "1";
            if (Nullable.GetUnderlyingType(type) is { } inner) return Sample(inner, depth);
            if (type.IsArray) return One(type.GetElementType()!, depth);
            if (type.IsInterface && type.IsGenericType && type.IsAssignableFrom(type.GetGenericArguments()[0].MakeArrayType()))
                return One(type.GetGenericArguments()[0], depth);
            // Never a constructor of the framework's own: some of them open files.
            var ofFramework = type.Namespace is { } space && (space == "System" || space.StartsWith("System.", StringComparison.Ordinal));
            if (type.IsPrimitive || type.IsEnum || type.IsPointer || type.IsAbstract || ofFramework || depth == 0)
                return type.IsValueType ? Activator.CreateInstance(type) : null;
            return Made(type, depth);
        }
        catch (Exception)
        {
            return null;
        }
    }

    private static object? Made(Type type, int depth)
    {
        var make = type.GetConstructors().OrderByDescending(c => c.GetParameters().Length).FirstOrDefault();
        var made = make is null ? Activator.CreateInstance(type) : make.Invoke([.. make.GetParameters().Select(p => Sample(p.ParameterType, depth - 1))]);
        foreach (var property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance))
            if (property is { CanRead: true, SetMethod.IsPublic: true } && property.GetIndexParameters().Length == 0 && property.GetValue(made) is null)
                property.SetValue(made, Sample(property.PropertyType, depth - 1));
        return made;
    }

    private static Array One(Type element, int depth)
    {
        var one = Array.CreateInstance(element, depth == 0 ? 0 : 1);
        if (one.Length == 1) one.SetValue(Sample(element, depth - 1), 0);
        return one;
    }
}
