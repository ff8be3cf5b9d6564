using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
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
        var request = await DefaultsAsync(http, Query.Route(http, "name")) with { Id = Query.NewId(http.Request) };
        var wait = Query.Wait(http.Request);
        await StartAsync(http, request with { Input = await Body.PayloadAsync(http) }, wait);
    }

    /// <summary>A saga with a definition of its own.</summary>
    public static async Task Inline(HttpContext http)
    {
        const string example = "{\"definition\":{…},\"input\":…}";
        var id = Query.NewId(http.Request);
        var wait = Query.Wait(http.Request);
        var request = new StartRequest("", Payload.Null)
        {
            Id = id, Tags = Query.Tags(http.Request), Priority = Query.Priority(http.Request), TraceParent = Query.TraceParent(http.Request),
        };
        using var body = await Body.ObjectAsync(http, example, Body.DefinitionLimit, Body.MaxDepth + 1);
        foreach (var field in body.RootElement.EnumerateObject())
            request = field.Name switch
            {
                "definition" => Defined(request, field.Value),
                "id" => request with { Id = IdOf(field.Value, id) },
                "input" => request with { Input = new Payload(Encoding.UTF8.GetBytes(field.Value.GetRawText())) },
                "tags" => request with { Tags = TagsOf(field.Value, request.Tags) },
                var other => throw Problem.BadBody($"$.{other}", $"The body has a field '{Problem.Short(other)}'. It has only definition, id, input and tags.").Thrown(),
            };
        if (request.Inline is null) throw Problem.BadBody("$.definition", $"The body has no definition. Send {example}, or POST the input to /api/v1/definitions/{{name}}/sagas.").Thrown();
        if (request.Input.Utf8.Length > Body.Limit) throw Problem.TooLarge("The input at $.input", Body.Limit).Thrown();
        try
        {
            await StartAsync(http, request, wait);
        }
        catch (DefinitionJsonException e)
        {
            throw Definitions.Refused(e, "$.definition");
        }
    }

    private static StartRequest Defined(StartRequest request, JsonElement given)
    {
        var definition = Definitions.Parse(new Payload(Encoding.UTF8.GetBytes(given.GetRawText())), "$.definition");
        return request with { Definition = definition.Name, Version = definition.Version, Inline = definition };
    }

    private static SagaId? IdOf(JsonElement given, SagaId? said)
    {
        if (given.ValueKind == JsonValueKind.Null) return said;
        if (given.ValueKind != JsonValueKind.String || !SagaId.TryParse(given.GetString(), out var id))
            throw Problem.BadBody("$.id", "The id is not 1 to 128 of A-Z a-z 0-9 . _ : -, the first a letter or digit.").Thrown();
        if (said is { } other && other != id)
            throw Problem.BadBody("$.id", $"The id is '{id}', and the parameter or the header Idempotency-Key says '{other}'. Send the same, or one of them.").Thrown();
        return id;
    }

    private static ImmutableSortedDictionary<string, string> TagsOf(JsonElement given, ImmutableSortedDictionary<string, string> said)
    {
        if (given.ValueKind == JsonValueKind.Null) return said;
        var fits = given.ValueKind == JsonValueKind.Object && given.EnumerateObject().All(tag => tag.Value.ValueKind == JsonValueKind.String && Query.IsTag(tag.Name, tag.Value.GetString()!));
        var tags = fits ? said.SetItems(given.EnumerateObject().Select(tag => KeyValuePair.Create(tag.Name, tag.Value.GetString()!))) : said;
        if (fits && tags.Count <= Query.MaxTags) return tags;
        throw Problem.BadBody("$.tags", $"The tags do not fit: send an object of at most {Query.MaxTags} texts, keys of 1 to 64 characters without colon, values of at most 256.").Thrown();
    }

    private static async Task StartAsync(HttpContext http, StartRequest request, TimeSpan? wait)
    {
        var engine = http.Engine();
        var started = await engine.StartAsync(request, http.RequestAborted);
        if (ProblemOf(engine, request, started) is { } problem) throw problem.Thrown();
        var saga = started.Saga!;
        if (wait is { } patience) saga = await WaitAsync(http, saga.Id, patience) ?? saga;

        http.Response.Headers.Location = Location(http.Request, saga.Id);
        var status = wait is not null ? (saga.Ended ? 200 : 202) : started.Outcome == StartOutcome.Exists ? 200 : 202;
        await Answer.JsonAsync(http, status, json => SagaWriter.Write(json, saga, engine.DefinitionOf(saga)));
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
        var definition = path.LastIndexOf("/definitions/", StringComparison.OrdinalIgnoreCase);
        return definition < 0 ? $"{path.TrimEnd('/')}/{id}" : $"{path[..definition]}/sagas/{id}";
    }
}
