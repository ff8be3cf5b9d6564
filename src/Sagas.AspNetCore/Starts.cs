using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>Starting one saga.</summary>
internal static class Starts
{
    public static async Task One(HttpContext http)
    {
        var engine = http.Engine();
        var request = await DefaultsAsync(http, Query.Route(http, "name")) with { Id = Query.NewId(http.Request) };
        var wait = Query.Wait(http.Request);
        request = request with { Input = await Body.PayloadAsync(http) };

        var started = await engine.StartAsync(request, http.RequestAborted);
        if (ProblemOf(engine, request, started) is { } problem) throw problem.Thrown();
        var saga = started.Saga!;
        if (wait is { } patience) saga = await WaitAsync(http, saga.Id, patience) ?? saga;

        http.Response.Headers.Location = Location(http.Request, saga.Id);
        var status = wait is not null ? (saga.Ended ? 200 : 202) : started.Outcome == StartOutcome.Exists ? 200 : 202;
        await Answer.JsonAsync(http, status, json => SagaWriter.Write(json, saga, engine.FindDefinition(saga.Definition, saga.DefinitionVersion)));
    }

    /// <summary>What the path, the parameters and the headers say of every saga to be started. A definition that is not there ends the request.</summary>
    public static async Task<StartRequest> DefaultsAsync(HttpContext http, string name)
    {
        var version = Query.Version(http.Request);
        if (await http.Engine().FindDefinitionAsync(name, version, http.RequestAborted) is null) throw Problem.UnknownDefinition(name, version).Thrown();
        return new StartRequest(name, Payload.Null)
        {
            Version = version,
            Tags = Query.Tags(http.Request),
            Priority = Query.Priority(http.Request),
            TraceParent = Query.TraceParent(http.Request),
        };
    }

    /// <summary>Why a start was not accepted; null: it was.</summary>
    public static Problem? ProblemOf(SagaEngine engine, StartRequest request, StartResult result) => result.Outcome switch
    {
        StartOutcome.Started or StartOutcome.Exists => null,
        StartOutcome.Differs => Problem.IdReused(request.Id ?? result.Saga!.Id, result.Problem),
        StartOutcome.Busy => Problem.Busy(result.Problem),
        StartOutcome.UnknownDefinition => Problem.UnknownDefinition(request.Definition, request.Version, result.Problem),
        _ => Problem.BadInput(request.Definition, result.Path ?? "$", Schemas.Expected(engine.FindDefinition(request.Definition, request.Version)?.InputType, result)),
    };

    /// <summary>The saga once it ended or the patience is over; as it stands when this node stops.</summary>
    public static async Task<SagaState?> WaitAsync(HttpContext http, SagaId id, TimeSpan patience)
    {
        var stopping = http.RequestServices.GetService<IHostApplicationLifetime>()?.ApplicationStopping ?? CancellationToken.None;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, stopping);
        try
        {
            return await http.Engine().WaitAsync(id, patience, either.Token);
        }
        catch (OperationCanceledException) when (!http.RequestAborted.IsCancellationRequested)
        {
            return await http.Engine().FindAsync(id, http.RequestAborted);
        }
    }

    /// <summary>Where the saga is, under the same prefix as this request.</summary>
    private static string Location(HttpRequest request, SagaId id)
    {
        var path = request.PathBase.Add(request.Path).ToUriComponent();
        return $"{path[..path.LastIndexOf("/definitions/", StringComparison.OrdinalIgnoreCase)]}/sagas/{id}";
    }
}
